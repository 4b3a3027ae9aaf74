"""Stage: write config/schema.json, the JSON schema of the configuration, from the models."""

import json
import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.root import Root
from stagewise.files import atomic_path


def schema(out: Path = Path("config/schema.json")) -> None:
    """Writes the schema that editors complete against and the test suite compares with."""
    text = json.dumps(Root.model_json_schema(), indent=2, sort_keys=True)
    with atomic_path(out) as temporary:
        temporary.write_text(text + "\n")


main = stage(schema)

if __name__ == "__main__":
    sys.exit(main())
