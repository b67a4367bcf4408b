"""People's ratings: what is asked, who answered what, kept vote by vote; and how far raters agree."""
