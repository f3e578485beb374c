"""Flows as FireWorks workflows on a LaunchPad."""
