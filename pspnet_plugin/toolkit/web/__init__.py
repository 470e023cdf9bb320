"""A page in the browser: drop a photo, see its classes. Needs the extra ``[web]``."""
