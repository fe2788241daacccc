create or replace function ml._tree_table(output text, origin text, measures text, keys text)
returns void
language plpgsql
as $$
begin
  execute format(
    $query$
    create table %s (
      %s tree int not null, node int not null, parent int, depth int not null,
      feature text, threshold float8, categories text[], missing_left boolean, left_node int, right_node int,
      %s, gain float8, cover float8 not null, num_rows bigint not null,
      primary key (%s)
    )
    $query$,
    output, coalesce(origin || ',', ''), measures, keys
  );
end;
$$;

comment on function ml._tree_table(text, text, text, text) is $$
Creates the table of the nodes of a model.
`origin` are the definitions of its first columns, or null, `measures` those of what a leaf answers.
$$;

grant execute on function ml._tree_table(text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
