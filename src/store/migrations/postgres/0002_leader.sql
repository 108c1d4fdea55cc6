-- Which master decides. Its epoch grows with every new leader; its beat shows that it lives. Whether a master may write is
-- not decided here but by the journal's head: this row only says who should try.

CREATE TABLE leader (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    master TEXT COLLATE "C" NOT NULL, -- who it is, by the name that it keeps in its data folder
    address TEXT COLLATE "C" NOT NULL, -- where other masters reach it, as a URL; empty if they cannot
    beat BIGINT NOT NULL, -- grows while it lives
    logs TEXT COLLATE "C" NOT NULL -- the folder of logs that all masters share, by its own name; empty until one has led
);
INSERT INTO leader (one, epoch, master, address, beat, logs) VALUES (1, 0, '', '', 0, '');
