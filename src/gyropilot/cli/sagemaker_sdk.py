"""The file that tells the SageMaker Python SDK 2.x which bucket is its default one.

Left to itself it asks AWS's own STS for the account first, at an address that AWS_ENDPOINT_URL does not change.
"""

from __future__ import annotations

from pathlib import Path

from gyropilot.files import write_whole

VARIABLE = "SAGEMAKER_USER_CONFIG_OVERRIDE"
"""Where the SDK looks for its file of defaults."""

_FILE = "sagemaker-sdk.yaml"
_TEXT = """\
# Written by `gyropilot env`: defaults of the SageMaker Python SDK for this service.
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      Session:
        DefaultS3Bucket: {bucket}
"""


def write_defaults(home: Path, *, region: str, account_id: str) -> Path:
    """Write the file into the home if it is not there as it should be, and give its path.

    The bucket bears the name that the SDK would have chosen, `sagemaker-<region>-<account>`; the SDK makes it.
    """
    path, text = home / _FILE, _TEXT.format(bucket=f"sagemaker-{region}-{account_id}")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
    return path
