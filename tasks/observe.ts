import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Longer than an observation takes, unless a probe hangs; the rest is then left to the next observation. */
const limit = "20s";

/** Measures what the probes of `monitor.probe` measure. */
export default defineTask({
  name: "observe",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>("select monitor.needs_observation() as any");
    return found?.any === true;
  },
  async run(_payload, { call }) {
    const [observed] = await call<{ probes: number; failed: number; measured: number }>(
      "select probes, failed, measured from monitor.observe()",
      [],
      limit,
    );
    const { probes = 0, failed = 0, measured = 0 } = observed ?? {};
    return { rows: measured, detail: { probes, ...(failed > 0 ? { failed } : {}) } };
  },
});
