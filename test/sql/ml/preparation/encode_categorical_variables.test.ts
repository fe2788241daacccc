import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("encode_categorical_variables", () => {
  const shells = [
    { id: 1, sex: "M", rings: 10, weight: 0.5 },
    { id: 2, sex: "F", rings: 9, weight: 0.6 },
    { id: 3, sex: "M", rings: 9, weight: 0.7 },
    { id: 4, sex: null, rings: 10, weight: 0.8 },
    { id: 5, sex: "I", rings: 9, weight: 0.9 },
  ];

  test("one-hot, dummy, null, most frequent", async () => {
    await load(database, "lab.shells", "id int, sex text, rings int, weight float8", shells);
    const plain = await make("encode_categorical_variables('lab.shells', 'lab.made', 'sex, rings')");
    expect(plain[1]).toEqual({ id: 2, weight: 0.6, sex_F: 1, sex_I: 0, sex_M: 0, rings_9: 1, rings_10: 0 });
    for (const row of plain)
      expect([0, 1]).toContain((row["sex_F"] as number) + (row["sex_I"] as number) + (row["sex_M"] as number));
    const dummy = await make(
      "encode_categorical_variables('lab.shells', 'lab.made', 'sex, rings', null, 'id', null, 'sex=M, rings=10', true)",
    );
    expect(dummy[3]).toEqual({ id: 4, sex_F: 0, sex_I: 0, sex_null: 1, rings_9: 0, rings_null: 0 });
    // MADlib's arguments in MADlib's order.
    expect(
      await make(
        "encode_categorical_variables('lab.shells', 'lab.made', 'sex, rings', null, 'id', null, 'sex=M, rings=10', true, 'column', false, 'id')",
      ),
    ).toEqual(dummy);
    const top = await make("encode_categorical_variables('lab.shells', 'lab.made', 'sex', null, 'id', '1')");
    expect(top).toEqual(
      [1, 2, 3, 4, 5].map((id) => ({
        id,
        sex_M: [1, 3].includes(id) ? 1 : 0,
        sex__misc__: [2, 5].includes(id) ? 1 : 0,
      })),
    );
    const array = await make(
      "encode_categorical_variables('lab.shells', 'lab.made', 'sex', null, 'id', output_type => 'array')",
    );
    expect(array[0]).toEqual({ id: 1, encoded: [0, 0, 1] });
    expect((await database.rows("select * from lab.made_dictionary order by index"))[2]).toEqual({
      encoded_column_name: "sex_M",
      index: 3,
      variable: "sex",
      value: "M",
    });
  });

  test("values too long or too alike to be names are numbered; quotes are safe", async () => {
    await load(database, "lab.words", "id int, word text", [
      { id: 1, word: "x".repeat(80) },
      { id: 2, word: `a"; drop table lab.words; --'` },
    ]);
    await make("encode_categorical_variables('lab.words', 'lab.made', 'word')");
    expect(await database.rows("select word_1, word_2 from lab.made order by id")).toEqual([
      { word_1: 0, word_2: 1 },
      { word_1: 1, word_2: 0 },
    ]);
    expect((await refuse("encode_categorical_variables('lab.words', 'lab.made', 'wort')")).hint).toBe(
      'Did you mean "word"?',
    );
    expect(
      (await refuse("encode_categorical_variables('lab.words', 'lab.made', 'word', null, null, null, 'word=z')")).code,
    ).toBe("CF002");
    expect(
      (await refuse("encode_categorical_variables('lab.words', 'lab.made', 'word', null, null, 'many')")).code,
    ).toBe("CF001");
  });
});
