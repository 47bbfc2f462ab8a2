"""The web page at `/`: plain HTML, CSS and modules, served as they are."""
