create or replace function track._kept_properties()
returns text[]
language sql
immutable
parallel safe
return '{item,itemKind,itemTitle,parent,name,title,url,path,viewId,interval,duration,servingId,topic,rating,browser,
browserVersion,os,device,experiment_id,experimentId,variation_id,variationId}'::text[];

comment on function track._kept_properties() is $$
Returns the properties that an allow-list never drops, because the system itself reads or writes them.
$$;
