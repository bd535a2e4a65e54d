"""The web app of a leaderboard: it shows the pages, takes predictions, scores them, sends entries.

`settings` is what its host decides; `intake` scores and sends and knows nothing of the web;
`desk` and `limits` say who is served when and how often; `private` keeps what is held back;
`pages` keeps the leaderboard's own pages up to date; `guard` bounds what a request may take;
`forms` and `markup` are the page; `app` joins them; `deploy` makes a Space of it.
"""
