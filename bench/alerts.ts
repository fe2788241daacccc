import { kinds, simulate } from "../test/support/alerts.ts";

/*
 * How often learned thresholds alert: series of many kinds, without a shift and with one, after 3, 14 and 29 days of
 * samples. `npm exec -- node bench/alerts.ts [repetitions]`; it needs no database, and prints the same each time.
 * test/sql/monitor/rule_state.test.ts compares the bounds with those of the database.
 */

const repetitions = Number(process.argv[2] ?? 5);
const shift = (value: number): number => 3 * value + 30;

console.log(`alerts a week without a shift, shifts (3 x + 30) found within a day, minutes; ${repetitions} repetitions`);
for (const kind of Object.keys(kinds)) {
  const cells = [3, 14, 29].map((learned) => {
    const { perWeek, found, minutes } = simulate(kind, { learned, repetitions, shift });
    return `${String(learned).padStart(4)} days: ${perWeek.toFixed(1).padStart(5)} ${found.toFixed(2)} ${minutes}`;
  });
  console.log(`${kind.padEnd(38)} ${cells.join(" ")}`);
}
