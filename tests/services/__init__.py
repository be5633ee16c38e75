"""Services that tests need, each started once, as pytest plugins."""
