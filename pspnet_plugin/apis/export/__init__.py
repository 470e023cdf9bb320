"""Export of networks to forms that need no framework, and the check of what was written."""
