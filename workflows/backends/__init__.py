"""DFT engines behind one interface."""
