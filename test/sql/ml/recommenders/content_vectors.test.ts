import fc from "fast-check";
import { expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { difference } from "../../../support/matrix.ts";
import { hashed, words } from "./content.ts";

const database = await lab();

interface Row {
  item: string;
  embedding: string | null;
}

const vectors = (more: string): Promise<Row[]> =>
  database.rows<Row>(`select item, embedding::text from ml.content_vectors('lab.course', ${more})`);

test("gives TF-IDF vectors, hashed, of length 1", async () => {
  const word = fc.constantFrom("algebra", "Linear", "LINEAR", "élan", "history", "of", "the", "art", "x1");
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(word, { maxLength: 8 }), { minLength: 1, maxLength: 8 }),
      fc.constantFrom(16, 256),
      async (texts, dimensions) => {
        const documents = texts.map((list) => words(list.join(" ")));
        await load(
          database,
          "lab.course",
          "id int, title text",
          texts.map((list, id) => ({ id, title: list.join(" ") })),
        );
        const rows = await vectors(`'id', dimensions => ${dimensions}`);
        expect(rows.map((row) => row.item)).toEqual(texts.map((_, id) => String(id)));
        const count = documents.filter((list) => list.length > 0).length;
        const rarity = (term: string): number =>
          1 + Math.log((count + 1) / (documents.filter((list) => list.includes(term)).length + 1));
        rows.forEach((row, i) => {
          const list = documents[i] ?? [];
          const expected = hashed(list, dimensions, rarity);
          // Terms of the same place and weight, with opposite signs, leave nothing of either.
          if (list.length === 0 || expected.some(Number.isNaN)) expect(row.embedding).toBeNull();
          else {
            const embedding = JSON.parse(row.embedding ?? "[]") as number[];
            expect(difference([embedding], [expected])).toBeLessThan(1e-6);
          }
        });
      },
    ),
    { numRuns: 25 },
  );
});

test("joins the rows of an item, takes an expression, and does not depend on the order of the rows", async () => {
  const rows = [
    { id: "b", title: "Linear algebra", tags: { subject: "maths" } },
    { id: "a", title: "Art", tags: {} },
    { id: "b", title: null, tags: { subject: "proofs" } },
  ];
  await load(database, "lab.course", "id text, title text, tags jsonb", rows);
  const one = await vectors("'id', $$concat_ws(' ', title, tags ->> 'subject')$$");
  expect(one.map((row) => row.item)).toEqual(["a", "b"]);
  await load(database, "lab.course", "id text, title text, tags jsonb", rows.toReversed());
  expect(await vectors("'id', $$concat_ws(' ', title, tags ->> 'subject')$$")).toEqual(one);
  await load(database, "lab.course", "id text, title text", [
    { id: "b", title: "proofs maths linear algebra" },
    { id: "a", title: "Art" },
  ]);
  expect(await vectors("'id'")).toEqual(one);
});

test("refuses invalid input", async () => {
  await load(database, "lab.course", "id text, title text", [{ id: "a", title: "Art" }]);
  const refused = async (more: string): Promise<string> => {
    const error = await database.rejects(`select * from ml.content_vectors('lab.course', ${more})`);
    expect(error.hint).toBeTruthy();
    return `${error.code} ${error.message}`;
  };
  expect(await refused("'idd'")).toBe('CF002 item column: "lab.course" has no column "idd"');
  expect(await refused("'id', 'titel'")).toBe('CF002 text column: "lab.course" has no column "titel"');
  expect(await refused("'id', 'title; drop table lab.course'")).toMatch(/^CF001 /);
  expect(await refused("'id', dimensions => 7")).toBe("CF001 dimensions is 7");
  await database.query("truncate lab.course");
  expect(await refused("'id'")).toBe("CF004 lab.course has no row with an item");
  const error = await database.as("insights_analyst", {}, (db) =>
    db.rejects("select * from ml.content_vectors('privacy.consent', 'person_id', 'purpose')"),
  );
  expect(error.code).toBe("CF005");
});
