"""The web page of `mrb web`: app.py answers requests, page/ holds what the browser loads. Needs the extra 'web'."""
