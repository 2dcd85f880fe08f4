// Only chosen users may change the schema.
import { userIn } from "portcullis:policy/client@0.1.0";
import { names } from "portcullis:policy/setup@0.1.0";
import { reason } from "portcullis:policy/verdict@0.1.0";

// docs/registry.md, effects
const SCHEMA = 1n << 2n;

let chosen = null;

export const policy = {
  configure(settings) {
    const patterns = JSON.parse(settings || "{}").except ?? [];
    try {
      chosen = patterns.length ? names(patterns) : null;
    } catch (refused) {
      throw [{ path: "/except", message: String(refused.payload ?? refused), hint: "" }];
    }
  },

  judge(kind, effects, traits) {
    if (!(effects & SCHEMA)) return "pass";
    if (chosen !== null && userIn(chosen) >= 0) return "pass";
    reason("schema", "the schema may not be changed here", "Put the change into a migration.");
    return "refuse";
  },
};
