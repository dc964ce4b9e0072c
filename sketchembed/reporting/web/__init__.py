"""Style sheets, scripts and templates of the HTML pages."""
