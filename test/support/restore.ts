import { afterAll, vi } from "vitest";

/* Files of a shared process begin with the originals of everything that an earlier file replaced. */
afterAll(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  vi.useRealTimers();
});
