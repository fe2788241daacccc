import { configDefaults, defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    globalSetup: ["test/support/server.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    projects: [
      {
        test: {
          name: "sql",
          include: ["test/sql/**/*.test.ts"],
          // Many short files that ask a database and change nothing of their process: they share it one after the other,
          // so that modules and the embedded database's WebAssembly are loaded once.
          isolate: false,
        },
      },
      {
        test: {
          // One process per test file: for what sets environment variables, starts servers or ends processes.
          name: "other",
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, "test/sql/**"],
        },
      },
    ],
  },
});
