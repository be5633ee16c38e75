"""Programs that use Headwater, to read and to start from. Run them from a checkout: ``python -m examples.loans``."""
