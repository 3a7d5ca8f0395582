"""What happened in a run, told by its history alone, along the continue-as-new chain.

    record     what an audit holds: plain, frozen, JSON as it is
    fold       events in, audit out; pure but for decoding payloads
    chain      the histories of a run and of its continuations, from the server
    markdown   for people: in a terminal, in a file, on a code host
    keep       writes one beside a stack's data each time a run closes

No query is asked and no local file is read, so an audit cannot disagree with the history, and
tells the same when no worker runs. Everything in it is redacted, as the history is.
"""

from tprov_kernel.audit.chain import audit
from tprov_kernel.audit.fold import fold
from tprov_kernel.audit.markdown import to_markdown
from tprov_kernel.audit.record import Audit, to_json

__all__ = ["Audit", "audit", "fold", "to_json", "to_markdown"]
