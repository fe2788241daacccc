create or replace function recommend._train_part(coded regclass, part recommend.part, is_blended boolean)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_scale float8;
begin
  create temporary table trained_part on commit drop as
  select trained.item_no, trained.neighbours, trained.weights
  from recommend._part_neighbours(coded, (part).algorithm, (part).parameters) as trained;

  -- The weights of methods differ in size. In a blend, those of each part have the same mean length per item.
  if is_blended then
    select avg(sqrt(length.squares)) into v_scale
    from pg_temp.trained_part
    cross join lateral (
      select sum(weight::float8 * weight) as squares from unnest(trained_part.weights) as weight
    ) as length;
    update pg_temp.trained_part
    set weights = array(
      select (entry.weight / v_scale)::real
      from unnest(trained_part.weights) with ordinality as entry (weight, place)
      order by entry.place
    )
    where v_scale > 0;
  end if;
end;
$$;

comment on function recommend._train_part(regclass, recommend.part, boolean) is $$
@behavior -*
Trains a part of a model, and writes its neighbour lists to the temporary table `trained_part`.
`coded` is a relation (person_no, item_no, weight, position). The parts of a blend are brought to the same size.
$$;
