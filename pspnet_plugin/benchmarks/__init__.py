"""Measurements of the plugin's parts beside their stock counterparts."""
