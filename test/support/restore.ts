import { afterAll, vi } from "vitest";

/* What a file of a shared process replaces is itself again for the next one. */
afterAll(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  vi.useRealTimers();
});
