create or replace function experiment.define_layer(layer text, description text)
returns experiment.layer
language plpgsql
volatile
-- A definer: it writes the layers and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_before jsonb;
  v_layer experiment.layer;
begin
  perform experiment._check_key('a layer', define_layer.layer);
  perform experiment._check_description(define_layer.description);
  perform experiment._begin_change();
  v_before := (select to_jsonb(known) from experiment.layer as known where known.layer = define_layer.layer);
  insert into experiment.layer (layer, description)
  values (define_layer.layer, define_layer.description)
  on conflict on constraint layer_pkey do update set description = excluded.description
  returning layer.* into v_layer;
  if to_jsonb(v_layer) is distinct from v_before then
    perform experiment._log_change('layer', v_layer.layer, 'defined', v_before, to_jsonb(v_layer));
  end if;
  return v_layer;
end;
$$;

comment on function experiment.define_layer(text, text) is $$
Creates a layer, or changes its description. A person takes part in one experiment of a layer at most.
Errors: CF001 for an invalid name or description.
$$;

grant execute on function experiment.define_layer(text, text) to insights_admin;
