create or replace function ml._transformed(covariance float8[], design ml.design)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := design.width;
  v_intercept constant integer := design.intercept;
  v_value constant float8 := design.intercept_value;
  v_scale constant float8[] := design.scale;
  v_shift constant float8[] := design.shift;
  v_half float8[] := covariance;
  v_result float8[] := covariance;
  v_sum float8;
begin
  for j in 1..v_width loop
    for i in 1..v_width loop
      v_half[i][j] := covariance[i][j] * v_scale[i];
    end loop;
    if v_intercept is not null then
      v_sum := covariance[v_intercept][j];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * covariance[m][j];
        end if;
      end loop;
      v_half[v_intercept][j] := v_sum / v_value;
    end if;
  end loop;
  for i in 1..v_width loop
    for j in 1..v_width loop
      v_result[i][j] := v_half[i][j] * v_scale[j];
    end loop;
    if v_intercept is not null then
      v_sum := v_half[i][v_intercept];
      for m in 1..v_width loop
        if m <> v_intercept then
          v_sum := v_sum - v_scale[m] * v_shift[m] * v_half[i][m];
        end if;
      end loop;
      v_result[i][v_intercept] := v_sum / v_value;
    end if;
  end loop;
  return v_result;
end;
$$;

comment on function ml._transformed(float8[], ml.design) is $$
Returns a block of covariances in the caller's units, from those of the centred and scaled columns.
The block is not necessarily symmetric.
$$;

create or replace function ml._multinomial_covariance(inverse float8[], settled ml.design, categories integer)
returns float8[]
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := settled.width;
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_block float8[];
  v_covariance float8[] := array_fill(0::float8, array[categories * v_width, categories * v_width]);
begin
  -- T V T' for every pair of categories, with the same T for all
  for a in 1..categories loop
    for b in 1..categories loop
      v_block := ml._transformed(
        ml._spread(
          inverse[(a - 1) * v_size + 1:a * v_size][(b - 1) * v_size + 1:b * v_size], v_unknowns, v_width
        ),
        settled
      );
      for i in 1..v_width loop
        for j in 1..v_width loop
          -- MADlib's order: by column, then by category
          v_covariance[(i - 1) * categories + a][(j - 1) * categories + b] := v_block[i][j];
        end loop;
      end loop;
    end loop;
  end loop;
  return v_covariance;
end;
$$;

comment on function ml._multinomial_covariance(float8[], ml.design, integer) is $$
Returns the covariance of a multinomial model in the caller's units, by column, then by category.
`inverse` is that of the information for the columns as they are summed, by category; `categories` is their number
without the reference.
$$;

grant execute on function
  ml._transformed(float8[], ml.design),
  ml._multinomial_covariance(float8[], ml.design, integer)
to insights_analyst, insights_admin, insights_worker;
