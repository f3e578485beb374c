"""From mother structures and rules to the compositions to screen."""
