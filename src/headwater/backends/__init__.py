"""One room per technology; none knows another. ``headwater.connect`` finds them by the URL's scheme."""
