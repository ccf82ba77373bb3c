"""`make audit`: known vulnerabilities of what the lock file names. Exits with 1 if there is one.

Some package indexes, mirrors mostly, serve packages and tell nothing about vulnerabilities. Then nothing could be
looked at, which is said, and is no failure: what is locked did not change.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.txt")
PIP_AUDIT = (sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "--format", "json")


def main() -> int:
    ran = subprocess.run([*PIP_AUDIT, "--requirement", str(LOCK)], capture_output=True, text=True)
    try:
        found = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        print(f"pip-audit did not finish:\n{ran.stderr}", file=sys.stderr)
        return ran.returncode or 1
    told = [one for one in found if "skip_reason" not in one]
    print(f"{len(told)} of {len(found)} locked packages looked up" + ("" if told else ": this index tells nothing"))
    for one in told:
        for vulnerability in one["vulns"]:
            mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {vulnerability['id']}, mended in {mended}")
    return int(any(one["vulns"] for one in told))


if __name__ == "__main__":
    sys.exit(main())
