"""The page of the HTML report: what is on it (`contents`), and its markup, styles and scripts as data files."""
