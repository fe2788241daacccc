import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

const large = "array['[1e30,1]', '[1,1e30]']::vector[]";
const unit = "array['[1,0]', '[0,1]']::vector[]";

test.each([
  [`ml.gram(${large})`, "the product in row 1, column 1 is too large for single precision"],
  [`ml.multiply(${large}, ${large})`, "the product in row 1, column 1 is too large for single precision"],
  [`ml.multiply_transposed(${unit}, array['[1,1]', '[3e38,3e38]', '[1,3e38]']::vector[] || ${large})`, null],
  [
    `ml.multiply_transposed(array['[1,1]', '[2,0]']::vector[], array['[1,1]', '[2e38,2e38]']::vector[])`,
    "the product in row 1, column 2 is too large for single precision",
  ],
  [
    `ml.inverse(array['[1e-42,0]', '[0,1]']::vector[])`,
    "the diagonal holds 1e-42, too small to be inverted in single precision",
  ],
  [
    `ml.inverse(array['[1e-3,0]', '[0,1e38]']::vector[])`,
    "the diagonal holds 1e+38, too large to be inverted in single precision",
  ],
  [
    `ml.inverse(array['[1,1e30]', '[1e30,1]']::vector[])`,
    "the matrix is not positive definite: an entry is larger than the diagonal allows",
  ],
  [`ml.inverse(array['[1e30,0]', '[0,1e-30]']::vector[])`, null],
  [`ml.rank_one_update(${large}, '[1e30,1e30]')`, "the product in row 1, column 1 is too large for single precision"],
  [
    `ml.low_rank_update(${large}, array['[1e30,1e30]']::vector[], '{1}')`,
    "the product in row 1, column 1 is too large for single precision",
  ],
  [
    `ml.low_rank_update(${unit}, array['[1e30,1e30]']::vector[], '{1}')`,
    "the product in row 1, column 1 is too large for single precision",
  ],
])("%s at the limits of single precision", async (call, message) => {
  if (message === null) expect(await database.value(`select ${call}`)).not.toBeNull();
  else expect(await database.rejects(`select ${call}`)).toMatchObject({ code: "CF007", message });
});

test("a factor beyond single precision is refused", async () => {
  expect(
    await database.rejects(`select ml.low_rank_update(${unit}, array['[1,1]']::vector[], '{1e-310}')`),
  ).toMatchObject({ code: "CF001", message: "a factor is not between 1e-36 and 1e36 in absolute value" });
});
