import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Hours and days per statement: the embedded database has one session, for which all other clients wait. */
const most = 100;

/** Thins the samples of `monitor.sample` by the settings of `monitor.setting`. */
export default defineTask({
  name: "thin_samples",
  payload: emptyPayload,
  async run(_payload, tools) {
    let rows = 0;
    while (!tools.stopping) {
      const [thinned] = await tools.call<{ deleted: number }>("select monitor.thin_samples($1) as deleted", [most]);
      rows += thinned?.deleted ?? 0;
      if ((thinned?.deleted ?? 0) === 0) break;
    }
    return { rows };
  },
});
