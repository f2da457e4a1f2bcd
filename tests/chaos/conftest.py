"""Which of these tests run when: those that kill and freeze for half a minute and more, only where they are asked for."""

import os

collect_ignore = [] if os.environ.get("ASYNCQ_CHAOS") else ["test_chaos.py", "test_losses.py"]
