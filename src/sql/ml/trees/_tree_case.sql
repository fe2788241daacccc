create or replace function ml._tree_case(leaf text)
returns text
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  v_node record;
  v_texts text[] := (select array_fill(null::text, array[max(node) + 1]) from pg_temp._ml_tree_node);
  v_text text;
begin
  -- Children have larger numbers than their parents, so going down the numbers every branch is there before it is
  -- needed.
  for v_node in
    select node, feature, cut, codes, missing_left, left_node, right_node,
      case leaf
        when 'value' then format('%L::float8', value)
        when 'distribution' then format('%L::float8[]', distribution)
        when 'scanned' then case when scanned then node::text else 'null::int' end
      end as leaf
    from pg_temp._ml_tree_node
    order by node desc
  loop
    if v_node.feature is null then
      v_text := v_node.leaf;
    elsif v_texts[v_node.left_node + 1] = v_texts[v_node.right_node + 1] then
      v_text := v_texts[v_node.left_node + 1];
    else
      v_text := format(
        'case when %s then %s else %s end',
        case
          when v_node.codes is not null then format('f%s in (%s)', v_node.feature,
            array_to_string(v_node.codes || case when v_node.missing_left then v_node.feature * 1024 end, ', '))
          when v_node.missing_left then format('f%s < %s', v_node.feature, v_node.cut)
          else format('f%1$s > %2$s and f%1$s < %3$s', v_node.feature, v_node.feature * 1024, v_node.cut)
        end,
        v_texts[v_node.left_node + 1],
        v_texts[v_node.right_node + 1]
      );
    end if;
    v_texts[v_node.node + 1] := v_text;
  end loop;
  return v_texts[1];
end;
$$;

comment on function ml._tree_case(text) is $$
Returns the tree in `_ml_tree_node` as nested CASE over the codes f1, f2, ….
What it gives a row is the `value` or the `distribution` of its leaf, or, with `scanned`, its node where that is
scanned.
$$;

grant execute on function ml._tree_case(text) to insights_analyst, insights_admin, insights_worker;
