import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Longer than the checks take, unless one hangs: it is then a finding, and the others are left to the next run. */
const limit = "20s";

interface Watched {
  findings: number;
  opened: number;
  raised: number;
  reopened: number;
  resolved: number;
  open: number;
}

/** Runs the checks of `monitor.health`, and opens, raises and resolves alerts. */
export default defineTask({
  name: "watch",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [watched] = await call<Watched>(
      "select findings, opened, raised, reopened, resolved, open from monitor.watch()",
      [],
      limit,
    );
    const { findings = 0, opened = 0, raised = 0, reopened = 0, resolved = 0, open = 0 } = watched ?? {};
    return { rows: opened + raised + reopened + resolved, detail: { findings, open } };
  },
});
