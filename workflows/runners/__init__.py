"""Who executes flows: this machine, or a cluster through FireWorks."""
