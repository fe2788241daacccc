import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test("is the bit that get_bit reads, counted from the left within blocks of 4,096", async () => {
  for (const person of [1, 4095, 4096, 4097, 1_000_000]) {
    expect(
      await database.rows(
        `select bit_count(bits)::int as bits, get_bit(bits, $1 % 4096) as bit from (select track.person_bit($1::int) as bits) as one`,
        [person],
      ),
    ).toEqual([{ bits: 1, bit: 1 }]);
  }
  expect(await database.value("select track.person_bit(null) is null")).toBe(true);
});
