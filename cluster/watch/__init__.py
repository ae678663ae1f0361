"""What somebody who watches a team sees: how each actor stands, what it cost, tasks as they go on, dead messages.

The command line prints it, the HTTP door serves it, the page in `cluster/page` draws it.
"""
