"""The funnel on a cluster: FireWorks, batch schedulers, and what they need on disk."""
