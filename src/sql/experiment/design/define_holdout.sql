create or replace function experiment.define_holdout(holdout text, share float8, description text)
returns experiment.holdout
language plpgsql
volatile
-- A definer: it writes the holdouts and the history, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_before experiment.holdout;
  v_holdout experiment.holdout;
begin
  perform experiment._check_key('a holdout', define_holdout.holdout);
  perform experiment._check_description(define_holdout.description);
  if define_holdout.share is null or not (define_holdout.share > 0 and define_holdout.share < 1) then
    perform common.refuse('CF001', format('share is %s', coalesce(define_holdout.share::text, 'null')),
      'Give a number between 0 and 1, such as 0.05.');
  end if;
  perform experiment._begin_change();
  select * into v_before from experiment.holdout as known where known.holdout = define_holdout.holdout;
  if v_before.ended_at is not null then
    perform common.refuse('CF003', format('the holdout "%s" has ended', v_before.holdout),
      'Define a holdout with another name, which holds out other people.');
  elsif v_before.share <> define_holdout.share and exists (
    select from experiment.experiment as known
    where known.holdout = v_before.holdout and known.state <> 'draft'
  ) then
    perform common.refuse(
      'CF003',
      format('the holdout "%s" has a share of %s', v_before.holdout, v_before.share),
      'Experiments with it have started: define another holdout.'
    );
  end if;
  insert into experiment.holdout (holdout, description, share)
  values (define_holdout.holdout, define_holdout.description, define_holdout.share)
  on conflict on constraint holdout_pkey do update
  set description = excluded.description, share = excluded.share
  returning holdout.* into v_holdout;
  if v_holdout is distinct from v_before then
    perform experiment._log_change(
      'holdout', v_holdout.holdout, 'defined',
      case when v_before.holdout is not null then to_jsonb(v_before) end, to_jsonb(v_holdout)
    );
  end if;
  return v_holdout;
end;
$$;

comment on function experiment.define_holdout(text, float8, text) is $$
Creates a holdout: a share of people who take part in none of the experiments that name it.
An existing one can have another description, and another share while no experiment with it has started.
Errors: CF001 for an invalid name, share or description, CF003 for a holdout that has ended or is in use.
$$;

grant execute on function experiment.define_holdout(text, float8, text) to insights_admin;
