"""Only chosen users may change the schema."""

import json

from componentize_py_types import Err
from wit_world.exports import Policy as Exports
from wit_world.imports import client, setup, verdict
from wit_world.imports.types import Decision, Issue

# docs/registry.md, effects
SCHEMA = 1 << 2

chosen = None


class Policy(Exports):
    def configure(self, settings: str) -> None:
        global chosen
        try:
            patterns = json.loads(settings or "{}").get("except", [])
            chosen = setup.names(patterns) if patterns else None
        except Err as refused:
            raise Err([Issue("/except", str(refused.value), "")])

    def judge(self, kind: int, effects: int, traits: int) -> Decision:
        if not effects & SCHEMA:
            return Decision.PASS
        if chosen is not None and client.user_in(chosen) >= 0:
            return Decision.PASS
        verdict.reason(
            "schema",
            "the schema may not be changed here",
            "Put the change into a migration.",
        )
        return Decision.REFUSE
