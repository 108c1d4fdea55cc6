-- What every start and every run of retention asks for, found without reading all that is done with.

CREATE INDEX delivery_unread ON delivery (id) WHERE result IS NULL;
CREATE INDEX catalog_at ON catalog (at);
CREATE INDEX standing_build ON standing (build);
