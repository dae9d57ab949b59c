"""The record as one page: a file that needs no server and no network.

The law of this folder: pure. A page shows what `chain.history` tells; its only code is the code in this folder, and a
stranger's words are text in it and never markup. A file loads nothing; the live page asks its own server.
"""

from chain.report.content import Origin, data, reviewed, shown
from chain.report.document import live_page, live_policy, page
from chain.report.proof import log

__all__ = ["Origin", "data", "live_page", "live_policy", "log", "page", "reviewed", "shown"]
