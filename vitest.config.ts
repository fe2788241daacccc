import { availableParallelism } from "node:os";
import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Tests that use no database, or one in a directory of their own. `.ci/run` runs them in the first of its two suites and
 * leaves them out of the second, by INSIGHTS_TEST_SERVER_ONLY.
 */
const serverless = [
  "test/browser/meter.test.ts",
  "test/api/{addresses,authentication,bodies,listener,rates}.test.ts",
  "test/config.test.ts",
  "test/database/{embedded,socket,watchdog}.test.ts",
  "test/importer/{csv,input,readers,time}.test.ts",
  "test/language.test.ts",
  "test/simulator/{random,simulation}.test.ts",
  "test/sql/style.test.ts",
  "test/worker/webhooks/*.test.ts",
];

/**
 * Tests of statements that the embedded database executes as a server does, only slower, and of commands that only send
 * such statements. `.ci/run` leaves them out of its first suite, by INSIGHTS_TEST_SHORT.
 */
const alike = [
  "test/api/{admission,analytics,include}.test.ts",
  "test/dashboard/operations.test.ts",
  "test/commands/{doctor,erase,evaluate,experiment,export,health,import,keys,query,retention,sql,train}.test.ts",
  "test/database/{locks,schema-conflicts}.test.ts",
  "test/errors/**/*.test.ts",
  "test/importer/import.test.ts",
  "test/metrics/**/*.test.ts",
  "test/migrations/**/*.test.ts",
  "test/privacy/**/*.test.ts",
  "test/properties/**/*.test.ts",
  "test/security/**/*.test.ts",
  "test/simulator/experiment.test.ts",
  "test/sql/{analytics,common,experiment,ml,monitor,privacy,recommend}/**/*.test.ts",
  "test/sql/track/!(ingest)*.test.ts",
  "test/worker/predictions.test.ts",
];

/**
 * Tests that take long: how releases are made and applied, one release with a filled database, every function with
 * hostile arguments, clients whose server is killed, pages in a browser, a supervisor that is killed, a standby, trainings and
 * settings with any history, trainings by steps, relations of many items, each cell of a rollup made wrong, the fixes
 * of health executed, stories of months: an experiment, a model that is made worse, monthly partitions with
 * other dates.
 * INSIGHTS_TEST_SHORT leaves them out.
 */
const long = [
  "test/api/{arguments,experiment_story,killed_list,replica}.test.ts",
  "test/browser/client.test.ts",
  "test/collector/failures.test.ts",
  "test/dashboard/{embedding,pages}.test.ts",
  "test/database/{months,replication,watchdog}.test.ts",
  "test/migrations/{page_views,release,upgrade}.test.ts",
  "test/properties/{settings,training}.test.ts",
  "test/security/limits.test.ts",
  "test/sql/analytics/train_predictions_step.test.ts",
  "test/sql/ml/recommenders/ease_neighbours.test.ts",
  "test/sql/monitor/relevance_story.test.ts",
  "test/sql/recommend/evaluate_relations.test.ts",
  "test/sql/track/check_rollups.test.ts",
  "test/worker/{fixes,predictions}.test.ts",
];

/** Tests that change their process, or measure it. */
const alone = [
  "test/api/include.test.ts",
  "test/collector/clients.test.ts",
  "test/database/{embedded,pooler,watchdog}.test.ts",
];

/** The files that take longest, which start first: else the last of them would run alone at the end. */
const slow = [
  "commands/start",
  "database/embedded",
  "database/watchdog",
  "commands/query",
  "security/definers",
  "sql/track/check_rollups",
  "commands/doctor",
  "api/analytics",
  "worker/worker",
  "database/migrate",
].map((name) => `/test/${name}.test.ts`);

class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = slow.findIndex((name) => moduleId.endsWith(name));
      return place < 0 ? slow.length : place;
    };
    return (await super.sort(files)).toSorted((one, other) => rank(one) - rank(other));
  }
}

const exclude = [
  ...configDefaults.exclude,
  ...(process.env["INSIGHTS_TEST_SERVER_ONLY"] ? serverless : []),
  ...(process.env["INSIGHTS_TEST_SHORT"] ? long : []),
  ...(process.env["INSIGHTS_TEST_SHORT"] && !process.env["INSIGHTS_TEST_SERVER_ONLY"] ? alike : []),
];

export default defineConfig({
  test: {
    globalSetup: ["test/support/server.ts"],
    pool: "forks",
    maxWorkers: Math.max(2, availableParallelism()),
    testTimeout: 300_000,
    hookTimeout: 300_000,
    sequence: { sequencer: SlowFirst },
    projects: [
      {
        test: {
          name: "shared",
          include: ["test/**/*.test.ts"],
          exclude: [...exclude, ...alone],
          // The files share a process one after the other, so that modules and the embedded database's WebAssembly are
          // loaded, and compiled for speed, once.
          isolate: false,
          setupFiles: ["test/support/restore.ts"],
        },
      },
      {
        test: {
          // One process per test file.
          name: "alone",
          include: alone,
          exclude,
        },
      },
    ],
  },
});
