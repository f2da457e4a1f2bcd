"""Which of these tests run when: what kills and freezes for half a minute and more, only where it is asked for."""

import os

collect_ignore = [] if os.environ.get("ASYNCQ_CHAOS") else ["test_chaos.py", "test_losses.py"]
