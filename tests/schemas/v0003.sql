BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_tokens (
	id INTEGER NOT NULL, 
	user_id INTEGER, 
	name TEXT NOT NULL, 
	secret_sha256 TEXT NOT NULL, 
	role TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at DATETIME NOT NULL, 
	last_used_at DATETIME, 
	CONSTRAINT pk_api_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_api_tokens_secret_sha256 UNIQUE (secret_sha256), 
	CONSTRAINT fk_api_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "api_tokens" VALUES(1,1,'report','bb','VIEWER','2026-03-21 08:00:00.000000','anna','2027-03-21 08:00:00.000000',NULL);
CREATE TABLE commitment_items (
	commitment_id INTEGER NOT NULL, 
	delivery_id INTEGER NOT NULL, 
	CONSTRAINT pk_commitment_items PRIMARY KEY (commitment_id, delivery_id), 
	CONSTRAINT fk_commitment_items_commitment_id FOREIGN KEY(commitment_id) REFERENCES commitments (id), 
	CONSTRAINT fk_commitment_items_delivery_id FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);
INSERT INTO "commitment_items" VALUES(1,2);
CREATE TABLE commitment_requests (
	id INTEGER NOT NULL, 
	transaction_uid TEXT NOT NULL, 
	calling_ae TEXT NOT NULL, 
	calling_host TEXT NOT NULL, 
	items JSON NOT NULL, 
	status TEXT NOT NULL, 
	requested_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	lease_owner TEXT, 
	lease_until DATETIME, 
	tries INTEGER NOT NULL, 
	answered_at DATETIME, 
	committed INTEGER, 
	failed INTEGER, 
	error_text TEXT, 
	CONSTRAINT pk_commitment_requests PRIMARY KEY (id), 
	CONSTRAINT uq_commitment_requests_calling_ae_transaction_uid UNIQUE (calling_ae, transaction_uid)
);
INSERT INTO "commitment_requests" VALUES(1,'2.25.77','MODALITY','192.0.2.7','[["1.2.840.10008.5.1.4.1.1.1.2", "1.10.9.1"]]','open','2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000','r1','2026-03-01 17:01:00.000000',1,NULL,NULL,NULL,NULL);
CREATE TABLE commitments (
	id INTEGER NOT NULL, 
	transaction_uid TEXT NOT NULL, 
	destination TEXT NOT NULL, 
	asked_at DATETIME NOT NULL, 
	reported_at DATETIME, 
	CONSTRAINT pk_commitments PRIMARY KEY (id), 
	CONSTRAINT uq_commitments_transaction_uid UNIQUE (transaction_uid)
);
INSERT INTO "commitments" VALUES(1,'2.25.900','A','2026-03-01 10:00:00.000000','2026-03-01 11:00:00.000000');
CREATE TABLE deliveries (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	result_id INTEGER NOT NULL, 
	destination TEXT NOT NULL, 
	status TEXT NOT NULL, 
	due_at DATETIME NOT NULL, 
	lease_owner TEXT, 
	lease_until DATETIME, 
	tries INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	first_try_at DATETIME, 
	dicom_status INTEGER, 
	error_code TEXT, 
	error_text TEXT, 
	delivered_at DATETIME, 
	transaction_uid TEXT, proof TEXT, proof_due_at DATETIME, proof_tries INTEGER DEFAULT '0' NOT NULL, proof_asks INTEGER DEFAULT '0' NOT NULL, proof_failures INTEGER DEFAULT '0' NOT NULL, proof_text TEXT, proved_at DATETIME, priority INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_deliveries PRIMARY KEY (id), 
	CONSTRAINT fk_deliveries_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_deliveries_result_id FOREIGN KEY(result_id) REFERENCES results (id), 
	CONSTRAINT uq_deliveries_result_id_destination UNIQUE (result_id, destination)
);
INSERT INTO "deliveries" VALUES(1,1,1,'A','delivered','2026-03-01 08:00:00.000000',NULL,NULL,1,1,'2026-03-01 08:00:00.000000',0,NULL,NULL,'2026-03-01 08:00:00.000000',NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(2,2,2,'A','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000','2.25.900','committed',NULL,1,1,0,'PACS commits to it','2026-03-01 11:00:00.000000',0);
INSERT INTO "deliveries" VALUES(3,2,2,'B','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000',NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(4,3,3,'A','superseded','2026-03-01 13:00:00.000000',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(5,4,4,'A','delivered','2026-03-01 13:00:01.000000',NULL,NULL,1,1,'2026-03-01 13:00:01.000000',0,NULL,NULL,'2026-03-01 13:00:01.000000',NULL,'wanted','2026-03-01 14:00:00.000000',0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(6,7,5,'A','failed','2026-03-01 16:00:00.000000',NULL,NULL,1,1,'2026-03-01 16:00:00.000000',0,'E602','the destination answered 0xC000',NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(7,7,5,'B','delivered','2026-03-01 16:00:00.000000',NULL,NULL,1,1,'2026-03-01 16:00:00.000000',0,NULL,NULL,'2026-03-01 16:00:00.000000',NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(8,8,6,'B','delivered','2026-03-01 16:00:01.000000',NULL,NULL,1,1,'2026-03-01 16:00:01.000000',0,NULL,NULL,'2026-03-01 16:00:01.000000',NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(9,9,7,'A','pending','2026-03-01 17:00:00.000000',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,0);
INSERT INTO "deliveries" VALUES(10,12,8,'A','pending','2026-03-21 08:00:00.000000',NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,1);
CREATE TABLE destination_states (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	failures INTEGER NOT NULL, 
	probes INTEGER NOT NULL, 
	since DATETIME NOT NULL, 
	probe_at DATETIME, 
	error_text TEXT NOT NULL, 
	CONSTRAINT pk_destination_states PRIMARY KEY (name)
);
INSERT INTO "destination_states" VALUES('A','closed',1,0,'2026-03-01 17:00:00.000000',NULL,'no connection');
CREATE TABLE event_cursors (
	name TEXT NOT NULL, 
	event_id INTEGER NOT NULL, 
	CONSTRAINT pk_event_cursors PRIMARY KEY (name)
);
INSERT INTO "event_cursors" VALUES('notices',5);
CREATE TABLE events (
	id INTEGER NOT NULL, 
	job_id INTEGER, 
	subject_uid TEXT, 
	at DATETIME NOT NULL, 
	kind TEXT NOT NULL, 
	code TEXT, 
	text TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (id), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "events" VALUES(1,1,NULL,'2026-03-01 08:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(2,1,'1.1.9.1','2026-03-01 08:00:00.000000','image-received',NULL,'Image 1.1.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(3,1,'1.1.9.2','2026-03-01 08:00:00.000000','image-received',NULL,'Image 1.1.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(4,1,'1.1.9.1','2026-03-01 08:00:00.000000','image-analyzed',NULL,'Image 1.1.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(5,1,'1.1.9.2','2026-03-01 08:00:00.000000','image-analyzed',NULL,'Image 1.1.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(6,1,NULL,'2026-03-01 08:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(7,1,'2.25.118','2026-03-01 08:00:00.000000','result-written',NULL,'Result object 2.25.118 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(8,1,NULL,'2026-03-01 08:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w1');
INSERT INTO "events" VALUES(9,1,'2.25.118','2026-03-01 08:00:00.000000','delivery-done',NULL,'Result object 2.25.118 was stored at A: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(10,1,NULL,'2026-03-01 08:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to A, has ended.','s1');
INSERT INTO "events" VALUES(11,1,NULL,'2026-03-01 09:00:00.000000','purged',NULL,'The retention is over: the files are deleted, the rows stay.','retention');
INSERT INTO "events" VALUES(12,2,NULL,'2026-03-01 10:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(13,2,'1.2.9.1','2026-03-01 10:00:00.000000','image-received',NULL,'Image 1.2.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(14,2,'1.2.9.2','2026-03-01 10:00:00.000000','image-received',NULL,'Image 1.2.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(15,2,'1.2.9.1','2026-03-01 10:00:00.000000','image-analyzed',NULL,'Image 1.2.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(16,2,'1.2.9.2','2026-03-01 10:00:00.000000','image-analyzed',NULL,'Image 1.2.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(17,2,NULL,'2026-03-01 10:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(18,2,'2.25.218','2026-03-01 10:00:00.000000','result-written',NULL,'Result object 2.25.218 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(19,2,NULL,'2026-03-01 10:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(20,2,'2.25.218','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.218 was stored at A: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(21,2,'2.25.218','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.218 was stored at B: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(22,2,NULL,'2026-03-01 10:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to B, has ended.','s1');
INSERT INTO "events" VALUES(23,2,'2.25.218','2026-03-01 10:00:00.000000','proof-asked',NULL,'Result object 2.25.218 is to be committed to at A: asked.','p');
INSERT INTO "events" VALUES(24,2,'2.25.218','2026-03-01 11:00:00.000000','proof-committed',NULL,'Result object 2.25.218 is committed to at A: PACS commits to it.','PACS');
INSERT INTO "events" VALUES(25,2,NULL,'2026-03-01 11:00:00.000000','committed',NULL,'The exam is committed: every destination that proves what it holds has done so.','PACS');
INSERT INTO "events" VALUES(26,3,NULL,'2026-03-01 13:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(27,3,'1.3.9.1','2026-03-01 13:00:00.000000','image-received',NULL,'Image 1.3.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(28,3,'1.3.9.2','2026-03-01 13:00:00.000000','image-received',NULL,'Image 1.3.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(29,3,'1.3.9.1','2026-03-01 13:00:00.000000','image-analyzed',NULL,'Image 1.3.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(30,3,'1.3.9.2','2026-03-01 13:00:00.000000','image-analyzed',NULL,'Image 1.3.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(31,3,NULL,'2026-03-01 13:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(32,3,'2.25.318','2026-03-01 13:00:00.000000','result-written',NULL,'Result object 2.25.318 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(33,3,NULL,'2026-03-01 13:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w1');
INSERT INTO "events" VALUES(34,4,NULL,'2026-03-01 13:00:01.000000','receiving',NULL,'A further image of the study came: revision 2 of the exam.','receiver');
INSERT INTO "events" VALUES(35,3,'1.3.9.1','2026-03-01 13:00:01.000000','image-replaced','E202','Image 1.3.9.1 came again from MODALITY with other bytes: revision 2 reads the new ones.','receiver');
INSERT INTO "events" VALUES(36,4,'1.3.9.1','2026-03-01 13:00:01.000000','image-replaced','E202','Image 1.3.9.1 came again from MODALITY with other bytes: revision 2 reads the new ones.','receiver');
INSERT INTO "events" VALUES(37,4,'1.3.9.1','2026-03-01 13:00:01.000000','image-analyzed',NULL,'Image 1.3.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(38,4,NULL,'2026-03-01 13:00:01.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(39,3,NULL,'2026-03-01 13:00:01.000000','results-superseded',NULL,'Its results are superseded by those of revision 2.','w1');
INSERT INTO "events" VALUES(40,3,NULL,'2026-03-01 13:00:01.000000','withdrawn',NULL,'Deliveries not done (1) were withdrawn: a newer revision of the exam is reported.','w1');
INSERT INTO "events" VALUES(41,3,NULL,'2026-03-01 13:00:01.000000','superseded',NULL,'The exam is superseded: nothing is left to send, a newer revision takes its place.','w1');
INSERT INTO "events" VALUES(42,4,'2.25.418','2026-03-01 13:00:01.000000','result-written',NULL,'Result object 2.25.418 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(43,4,NULL,'2026-03-01 13:00:01.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w1');
INSERT INTO "events" VALUES(44,4,'2.25.418','2026-03-01 13:00:01.000000','delivery-done',NULL,'Result object 2.25.418 was stored at A: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(45,4,NULL,'2026-03-01 13:00:01.000000','delivered',NULL,'The exam is delivered: the last delivery, to A, has ended.','s1');
INSERT INTO "events" VALUES(46,5,NULL,'2026-03-01 14:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(47,5,'1.4.9.1','2026-03-01 14:00:00.000000','image-received',NULL,'Image 1.4.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(48,5,'1.4.9.2','2026-03-01 14:00:00.000000','image-received',NULL,'Image 1.4.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(49,5,'1.4.9.1','2026-03-01 14:00:00.000000','image-set-aside','N112','Image 1.4.9.1 was set aside: the image names another patient than the rest of its study (x).','w1');
INSERT INTO "events" VALUES(50,5,'1.4.9.2','2026-03-01 14:00:00.000000','image-set-aside','N112','Image 1.4.9.2 was set aside: the image names another patient than the rest of its study (x).','w1');
INSERT INTO "events" VALUES(51,5,NULL,'2026-03-01 14:00:00.000000','skipped',NULL,'Nothing to read.','w1');
INSERT INTO "events" VALUES(52,6,NULL,'2026-03-01 14:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(53,6,'1.5.9.1','2026-03-01 14:00:00.000000','image-received',NULL,'Image 1.5.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(54,6,'1.5.9.2','2026-03-01 14:00:00.000000','image-received',NULL,'Image 1.5.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(55,6,NULL,'2026-03-01 14:00:00.000000','failed','E801','Broke.','w1');
INSERT INTO "events" VALUES(56,6,NULL,'2026-03-01 15:00:00.000000','cancelled',NULL,'The exam was given up: a test.','anna');
INSERT INTO "events" VALUES(57,7,NULL,'2026-03-01 16:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(58,7,'1.6.9.1','2026-03-01 16:00:00.000000','image-received',NULL,'Image 1.6.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(59,7,'1.6.9.2','2026-03-01 16:00:00.000000','image-received',NULL,'Image 1.6.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(60,7,'1.6.9.1','2026-03-01 16:00:00.000000','image-analyzed',NULL,'Image 1.6.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(61,7,'1.6.9.2','2026-03-01 16:00:00.000000','image-analyzed',NULL,'Image 1.6.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(62,7,NULL,'2026-03-01 16:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(63,7,'2.25.718','2026-03-01 16:00:00.000000','result-written',NULL,'Result object 2.25.718 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(64,7,NULL,'2026-03-01 16:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(65,7,'2.25.718','2026-03-01 16:00:00.000000','delivery-failed','E602','Result object 2.25.718 could not be sent to A: the destination answered 0xC000.','s1');
INSERT INTO "events" VALUES(66,7,'2.25.718','2026-03-01 16:00:00.000000','delivery-done',NULL,'Result object 2.25.718 was stored at B: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(67,7,NULL,'2026-03-01 16:00:00.000000','failed','E602','The exam is failed: the last delivery, to B, has ended.','s1');
INSERT INTO "events" VALUES(68,8,NULL,'2026-03-01 16:00:01.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(69,8,'1.7.9.1','2026-03-01 16:00:01.000000','image-received',NULL,'Image 1.7.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(70,8,'1.7.9.2','2026-03-01 16:00:01.000000','image-received',NULL,'Image 1.7.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(71,8,'1.7.9.1','2026-03-01 16:00:01.000000','image-analyzed',NULL,'Image 1.7.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(72,8,'1.7.9.2','2026-03-01 16:00:01.000000','image-analyzed',NULL,'Image 1.7.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(73,8,NULL,'2026-03-01 16:00:01.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(74,8,'2.25.818','2026-03-01 16:00:01.000000','result-written',NULL,'Result object 2.25.818 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(75,8,NULL,'2026-03-01 16:00:01.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w1');
INSERT INTO "events" VALUES(76,8,'2.25.818','2026-03-01 16:00:01.000000','delivery-done',NULL,'Result object 2.25.818 was stored at B: the destination answered 0x0000.','s1');
INSERT INTO "events" VALUES(77,8,NULL,'2026-03-01 16:00:01.000000','delivered',NULL,'The exam is delivered: the last delivery, to B, has ended.','s1');
INSERT INTO "events" VALUES(78,9,NULL,'2026-03-01 17:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(79,9,'1.8.9.1','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.8.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(80,9,'1.8.9.2','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.8.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(81,9,'1.8.9.1','2026-03-01 17:00:00.000000','image-analyzed',NULL,'Image 1.8.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(82,9,'1.8.9.2','2026-03-01 17:00:00.000000','image-analyzed',NULL,'Image 1.8.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(83,9,NULL,'2026-03-01 17:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(84,9,'2.25.918','2026-03-01 17:00:00.000000','result-written',NULL,'Result object 2.25.918 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(85,9,NULL,'2026-03-01 17:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w1');
INSERT INTO "events" VALUES(86,10,NULL,'2026-03-01 17:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(87,10,'1.9.9.1','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.9.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(88,10,'1.9.9.2','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.9.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(89,10,'1.9.9.1','2026-03-01 17:00:00.000000','image-analyzed',NULL,'Image 1.9.9.1 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(90,10,'1.9.9.2','2026-03-01 17:00:00.000000','image-analyzed',NULL,'Image 1.9.9.2 was analyzed by m 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(91,10,NULL,'2026-03-01 17:00:00.000000','analyzed',NULL,'The exam is complete.','w1');
INSERT INTO "events" VALUES(92,10,NULL,'2026-03-01 17:00:00.000000','waiting','E401','The step was put off: no model.','w1');
INSERT INTO "events" VALUES(93,11,NULL,'2026-03-01 17:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(94,11,'1.10.9.1','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.10.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(95,11,'1.10.9.2','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.10.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(96,12,NULL,'2026-03-21 08:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(97,12,'1.2.90.9.1','2026-03-21 08:00:00.000000','image-received',NULL,'Image 1.2.90.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(98,12,'1.2.90.9.1','2026-03-21 08:00:00.000000','image-analyzed',NULL,'Image 1.2.90.9.1 was analyzed by m 1 with 1 finding.','w9');
INSERT INTO "events" VALUES(99,12,NULL,'2026-03-21 08:00:00.000000','analyzed',NULL,'Closed.','w9');
INSERT INTO "events" VALUES(100,12,NULL,'2026-03-21 08:00:00.000000','priority',NULL,'The priority of the exam is urgent now.','anna');
INSERT INTO "events" VALUES(101,12,'2.25.1218','2026-03-21 08:00:00.000000','result-written',NULL,'Result object 2.25.1218 (mammography-cad-sr) was written.','w9');
INSERT INTO "events" VALUES(102,12,NULL,'2026-03-21 08:00:00.000000','reported',NULL,'Result objects on disk: 1; deliveries due: 1.','w9');
INSERT INTO "events" VALUES(103,NULL,NULL,'2026-03-21 08:00:00.000000','account',NULL,'User anna was added as admin.','setup');
CREATE TABLE exam_identifiers (
	job_id INTEGER NOT NULL, 
	exam_created_at DATETIME NOT NULL, 
	patient_id TEXT, 
	accession_number TEXT, 
	study_date DATE, 
	CONSTRAINT pk_exam_identifiers PRIMARY KEY (job_id), 
	CONSTRAINT fk_exam_identifiers_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "exam_identifiers" VALUES(12,'2026-03-21 08:00:00.000000','P1','A1','2026-03-01');
CREATE TABLE findings (
	id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	score FLOAT NOT NULL, 
	center_column FLOAT NOT NULL, 
	center_row FLOAT NOT NULL, 
	outline JSON NOT NULL, 
	area_mm2 FLOAT NOT NULL, 
	operating_point INTEGER NOT NULL, 
	calcifications JSON NOT NULL, 
	CONSTRAINT pk_findings PRIMARY KEY (id), 
	CONSTRAINT fk_findings_image_id FOREIGN KEY(image_id) REFERENCES images (id)
);
INSERT INTO "findings" VALUES(1,1,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(2,2,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(3,3,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(4,4,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(6,6,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(7,5,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(8,11,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(9,12,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(10,13,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(11,14,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(12,15,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(13,16,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(14,17,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(15,18,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(16,21,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
CREATE TABLE golden_checks (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	actor TEXT NOT NULL, 
	model TEXT NOT NULL, 
	well BOOLEAN NOT NULL, 
	difference FLOAT, 
	text TEXT NOT NULL, 
	seconds FLOAT NOT NULL, 
	CONSTRAINT pk_golden_checks PRIMARY KEY (id)
);
INSERT INTO "golden_checks" VALUES(1,'2026-03-21 08:00:00.000000','anna','cut 1',1,0.0001,'as it was',2.5);
CREATE TABLE images (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	sop_instance_uid TEXT NOT NULL, 
	sop_class_uid TEXT NOT NULL, 
	series_instance_uid TEXT NOT NULL, 
	transfer_syntax_uid TEXT NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 TEXT NOT NULL, 
	calling_ae TEXT NOT NULL, 
	received_at DATETIME NOT NULL, 
	state TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	reason TEXT, 
	detail TEXT NOT NULL, 
	laterality TEXT, 
	"view" TEXT, 
	intent TEXT, 
	source_uids JSON NOT NULL, 
	rows INTEGER, 
	columns INTEGER, 
	model TEXT, 
	analyzed_at DATETIME, returned BOOLEAN DEFAULT 0 NOT NULL, top_score FLOAT, 
	CONSTRAINT pk_images PRIMARY KEY (id), 
	CONSTRAINT fk_images_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_images_sop_instance_uid UNIQUE (sop_instance_uid)
);
INSERT INTO "images" VALUES(1,1,'1.1.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.1.8','1.2.840.10008.1.2.1','images/1.1-1',1001,'a','MODALITY','2026-03-01 08:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 08:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(2,1,'1.1.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.1.8','1.2.840.10008.1.2.1','images/1.1-2',1002,'b','MODALITY','2026-03-01 08:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 08:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(3,2,'1.2.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.2.8','1.2.840.10008.1.2.1','images/1.2-1',1001,'a','MODALITY','2026-03-01 10:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 10:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(4,2,'1.2.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.2.8','1.2.840.10008.1.2.1','images/1.2-2',1002,'b','MODALITY','2026-03-01 10:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 10:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(5,4,'1.3.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.3.8','1.2.840.10008.1.2.1','images/other',1001,'other','MODALITY','2026-03-01 13:00:01.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 13:00:01.000000',0,NULL);
INSERT INTO "images" VALUES(6,3,'1.3.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.3.8','1.2.840.10008.1.2.1','images/1.3-2',1002,'b','MODALITY','2026-03-01 13:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 13:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(7,5,'1.4.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.4.8','1.2.840.10008.1.2.1','images/1.4-1',1001,'a','MODALITY','2026-03-01 14:00:00.000000','set aside',0,'N112','x',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(8,5,'1.4.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.4.8','1.2.840.10008.1.2.1','images/1.4-2',1002,'b','MODALITY','2026-03-01 14:00:00.000000','set aside',0,'N112','x',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(9,6,'1.5.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.5.8','1.2.840.10008.1.2.1','images/1.5-1',1001,'a','MODALITY','2026-03-01 14:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(10,6,'1.5.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.5.8','1.2.840.10008.1.2.1','images/1.5-2',1002,'b','MODALITY','2026-03-01 14:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(11,7,'1.6.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.6.8','1.2.840.10008.1.2.1','images/1.6-1',1001,'a','MODALITY','2026-03-01 16:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 16:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(12,7,'1.6.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.6.8','1.2.840.10008.1.2.1','images/1.6-2',1002,'b','MODALITY','2026-03-01 16:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 16:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(13,8,'1.7.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.7.8','1.2.840.10008.1.2.1','images/1.7-1',1001,'a','MODALITY','2026-03-01 16:00:01.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 16:00:01.000000',0,NULL);
INSERT INTO "images" VALUES(14,8,'1.7.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.7.8','1.2.840.10008.1.2.1','images/1.7-2',1002,'b','MODALITY','2026-03-01 16:00:01.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 16:00:01.000000',0,NULL);
INSERT INTO "images" VALUES(15,9,'1.8.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.8.8','1.2.840.10008.1.2.1','images/1.8-1',1001,'a','MODALITY','2026-03-01 17:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 17:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(16,9,'1.8.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.8.8','1.2.840.10008.1.2.1','images/1.8-2',1002,'b','MODALITY','2026-03-01 17:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 17:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(17,10,'1.9.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.9.8','1.2.840.10008.1.2.1','images/1.9-1',1001,'a','MODALITY','2026-03-01 17:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 17:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(18,10,'1.9.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.9.8','1.2.840.10008.1.2.1','images/1.9-2',1002,'b','MODALITY','2026-03-01 17:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-01 17:00:00.000000',0,NULL);
INSERT INTO "images" VALUES(19,11,'1.10.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.10.8','1.2.840.10008.1.2.1','images/1.10-1',1001,'a','MODALITY','2026-03-01 17:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(20,11,'1.10.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.10.8','1.2.840.10008.1.2.1','images/1.10-2',1002,'b','MODALITY','2026-03-01 17:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES(21,12,'1.2.90.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.2.90.8','1.2.840.10008.1.2.1','images/1.2.90-1',1001,'a','MODALITY','2026-03-21 08:00:00.000000','analyzed',0,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'m 1','2026-03-21 08:00:00.000000',0,9.99899983406066894531e-01);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	study_instance_uid TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	calling_ae TEXT NOT NULL, 
	image_count INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	last_image_at DATETIME NOT NULL, 
	analyzed_at DATETIME, 
	finished_at DATETIME, 
	due_at DATETIME NOT NULL, 
	lease_owner TEXT, 
	lease_until DATETIME, 
	tries INTEGER NOT NULL, 
	failed_from TEXT, 
	error_code TEXT, 
	error_text TEXT, 
	superseded_by INTEGER, renews BOOLEAN DEFAULT 0 NOT NULL, priority INTEGER DEFAULT '0' NOT NULL, delivered_at DATETIME, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_superseded_by FOREIGN KEY(superseded_by) REFERENCES jobs (id), 
	CONSTRAINT uq_jobs_study_instance_uid_revision UNIQUE (study_instance_uid, revision)
);
INSERT INTO "jobs" VALUES(1,'1.1',1,'purged','MODALITY',2,'2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,'2026-03-01 08:00:00.000000');
INSERT INTO "jobs" VALUES(2,'1.2',1,'committed','MODALITY',2,'2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 10:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,'2026-03-01 10:00:00.000000');
INSERT INTO "jobs" VALUES(3,'1.3',1,'superseded','MODALITY',1,'2026-03-01 13:00:00.000000','2026-03-01 13:00:00.000000','2026-03-01 13:00:00.000000','2026-03-01 13:00:01.000000','2026-03-01 13:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,4,0,0,NULL);
INSERT INTO "jobs" VALUES(4,'1.3',2,'delivered','MODALITY',1,'2026-03-01 13:00:01.000000','2026-03-01 13:00:01.000000','2026-03-01 13:00:01.000000','2026-03-01 13:00:01.000000','2026-03-01 13:00:01.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,1,0,'2026-03-01 13:00:01.000000');
INSERT INTO "jobs" VALUES(5,'1.4',1,'skipped','MODALITY',2,'2026-03-01 14:00:00.000000','2026-03-01 14:00:00.000000',NULL,'2026-03-01 14:00:00.000000','2026-03-01 14:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(6,'1.5',1,'cancelled','MODALITY',2,'2026-03-01 14:00:00.000000','2026-03-01 14:00:00.000000',NULL,'2026-03-01 15:00:00.000000','2026-03-01 14:00:00.000000',NULL,NULL,0,NULL,'E801','too often',NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(7,'1.6',1,'failed','MODALITY',2,'2026-03-01 16:00:00.000000','2026-03-01 16:00:00.000000','2026-03-01 16:00:00.000000',NULL,'2026-03-01 16:00:00.000000',NULL,NULL,0,'reported','E602','delivery to A: the destination answered 0xC000',NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(8,'1.7',1,'delivered','MODALITY',2,'2026-03-01 16:00:01.000000','2026-03-01 16:00:01.000000','2026-03-01 16:00:01.000000','2026-03-01 16:00:01.000000','2026-03-01 16:00:01.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,'2026-03-01 16:00:01.000000');
INSERT INTO "jobs" VALUES(9,'1.8',1,'reported','MODALITY',2,'2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000',NULL,'2026-03-01 17:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(10,'1.9',1,'analyzed','MODALITY',2,'2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000',NULL,'2026-06-08 17:00:00.000000',NULL,NULL,1,NULL,'E401','no model',NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(11,'1.10',1,'receiving','MODALITY',2,'2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000',NULL,NULL,'2026-03-01 17:00:00.000000',NULL,NULL,1,NULL,NULL,NULL,NULL,0,0,NULL);
INSERT INTO "jobs" VALUES(12,'1.2.90',1,'reported','MODALITY',1,'2026-03-21 08:00:00.000000','2026-03-21 08:00:00.000000','2026-03-21 08:00:00.000000',NULL,'2026-03-21 08:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL,0,1,NULL);
CREATE TABLE notice_messages (
	id INTEGER NOT NULL, 
	notice_id INTEGER NOT NULL, 
	channel TEXT NOT NULL, 
	about TEXT NOT NULL, 
	status TEXT NOT NULL, 
	first_due_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	lease_owner TEXT, 
	lease_until DATETIME, 
	tries INTEGER NOT NULL, 
	sent_at DATETIME, 
	error_text TEXT, 
	CONSTRAINT pk_notice_messages PRIMARY KEY (id), 
	CONSTRAINT fk_notice_messages_notice_id FOREIGN KEY(notice_id) REFERENCES notices (id), 
	CONSTRAINT uq_notice_messages_notice_id_channel_about UNIQUE (notice_id, channel, about)
);
INSERT INTO "notice_messages" VALUES(1,1,'mail','begin','pending','2026-03-21 08:00:00.000000','2026-03-21 08:00:00.000000',NULL,NULL,0,NULL,NULL);
CREATE TABLE notices (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	text TEXT NOT NULL, 
	count INTEGER NOT NULL, 
	exams JSON NOT NULL, 
	opened_at DATETIME NOT NULL, 
	closed_at DATETIME, 
	CONSTRAINT pk_notices PRIMARY KEY (id)
);
INSERT INTO "notices" VALUES(1,'k','destination','A','A is silent',1,'[]','2026-03-21 08:00:00.000000',NULL);
CREATE TABLE patch_scores (
	image_id INTEGER NOT NULL, 
	image_rows INTEGER NOT NULL, 
	image_columns INTEGER NOT NULL, 
	row_scale FLOAT NOT NULL, 
	column_scale FLOAT NOT NULL, 
	patch_size INTEGER NOT NULL, 
	patch_count INTEGER NOT NULL, 
	patches BLOB NOT NULL, 
	heat_rows INTEGER NOT NULL, 
	heat_columns INTEGER NOT NULL, 
	heat_row_step FLOAT NOT NULL, 
	heat_column_step FLOAT NOT NULL, 
	heat BLOB NOT NULL, 
	thresholds JSON NOT NULL, 
	recommended INTEGER NOT NULL, 
	CONSTRAINT pk_patch_scores PRIMARY KEY (image_id), 
	CONSTRAINT fk_patch_scores_image_id FOREIGN KEY(image_id) REFERENCES images (id)
);
INSERT INTO "patch_scores" VALUES(21,4000,3000,1.42857142857142860314e+00,1.4,224,3,X'789C636080004991BFFFFFFF6F600732AD3E7031305880046D0063A30657',5,7,30.5,31.25,X'789C012300DCFF00080F171E262D353C444B535A6269717880878F969EA5ADB4BCC3CBD2DAE1E9F0F8FFD1EA1178','[0.9, 0.5]',1);
CREATE TABLE processes (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	beat_at DATETIME NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_processes PRIMARY KEY (id)
);
INSERT INTO "processes" VALUES('host:1:a','receive','host',1,'2026-03-21 08:00:00.000000','2026-03-21 08:05:00.000000','{}');
CREATE TABLE pulls (
	name TEXT NOT NULL, 
	due_at DATETIME NOT NULL, 
	lease_owner TEXT, 
	lease_until DATETIME, ended_at DATETIME, fetched INTEGER, failed INTEGER, error_text TEXT, 
	CONSTRAINT pk_pulls PRIMARY KEY (name)
);
INSERT INTO "pulls" VALUES('nightly','2026-03-01 18:00:00.000000','r1','2026-03-01 17:01:00.000000',NULL,NULL,NULL,NULL);
CREATE TABLE replaced_images (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	sop_instance_uid TEXT NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 TEXT NOT NULL, 
	calling_ae TEXT NOT NULL, 
	received_at DATETIME NOT NULL, 
	replaced_at DATETIME NOT NULL, 
	CONSTRAINT pk_replaced_images PRIMARY KEY (id), 
	CONSTRAINT fk_replaced_images_job_id FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "replaced_images" VALUES(1,3,'1.3.9.1','images/1.3-1',1001,'a','MODALITY','2026-03-01 13:00:00.000000','2026-03-01 13:00:01.000000');
CREATE TABLE results (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	sop_class_uid TEXT NOT NULL, 
	sop_instance_uid TEXT NOT NULL, 
	series_instance_uid TEXT NOT NULL, 
	path TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_results PRIMARY KEY (id), 
	CONSTRAINT fk_results_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_results_sop_instance_uid UNIQUE (sop_instance_uid)
);
INSERT INTO "results" VALUES(1,1,'mammography-cad-sr','1.2.840.1','2.25.118','2.25.118.1','results/2.25.118','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 08:00:00.000000');
INSERT INTO "results" VALUES(2,2,'mammography-cad-sr','1.2.840.1','2.25.218','2.25.218.1','results/2.25.218','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 10:00:00.000000');
INSERT INTO "results" VALUES(3,3,'mammography-cad-sr','1.2.840.1','2.25.318','2.25.318.1','results/2.25.318','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 13:00:00.000000');
INSERT INTO "results" VALUES(4,4,'mammography-cad-sr','1.2.840.1','2.25.418','2.25.418.1','results/2.25.418','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 13:00:01.000000');
INSERT INTO "results" VALUES(5,7,'mammography-cad-sr','1.2.840.1','2.25.718','2.25.718.1','results/2.25.718','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 16:00:00.000000');
INSERT INTO "results" VALUES(6,8,'mammography-cad-sr','1.2.840.1','2.25.818','2.25.818.1','results/2.25.818','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 16:00:01.000000');
INSERT INTO "results" VALUES(7,9,'mammography-cad-sr','1.2.840.1','2.25.918','2.25.918.1','results/2.25.918','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 17:00:00.000000');
INSERT INTO "results" VALUES(8,12,'mammography-cad-sr','1.2.840.1','2.25.1218','2.25.1218.1','results/2.25.1218','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-21 08:00:00.000000');
CREATE TABLE sign_in_failures (
	id INTEGER NOT NULL, 
	name_sha256 TEXT NOT NULL, 
	address TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_sign_in_failures PRIMARY KEY (id)
);
INSERT INTO "sign_in_failures" VALUES(1,'cc','127.0.0.1','2026-03-21 08:00:00.000000');
CREATE TABLE users (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	password_hash TEXT, 
	issuer TEXT, 
	subject TEXT, 
	created_at DATETIME NOT NULL, 
	created_by TEXT NOT NULL, 
	last_sign_in_at DATETIME, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name UNIQUE (name), 
	CONSTRAINT uq_users_issuer_subject UNIQUE (issuer, subject)
);
INSERT INTO "users" VALUES(1,'anna','ADMIN','local','hash 1',NULL,NULL,'2026-03-21 08:00:00.000000','setup',NULL);
CREATE TABLE web_sessions (
	id INTEGER NOT NULL, 
	user_id INTEGER NOT NULL, 
	secret_sha256 TEXT NOT NULL, 
	began_at DATETIME NOT NULL, 
	last_used_at DATETIME NOT NULL, 
	address TEXT NOT NULL, 
	browser TEXT NOT NULL, 
	CONSTRAINT pk_web_sessions PRIMARY KEY (id), 
	CONSTRAINT uq_web_sessions_secret_sha256 UNIQUE (secret_sha256), 
	CONSTRAINT fk_web_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "web_sessions" VALUES(1,1,'aa','2026-03-21 08:00:00.000000','2026-03-21 08:05:00.000000','127.0.0.1','Firefox');
CREATE INDEX ix_jobs_status_due_at ON jobs (status, due_at);
CREATE INDEX ix_images_job_id ON images (job_id);
CREATE INDEX ix_images_series_instance_uid ON images (series_instance_uid);
CREATE INDEX ix_findings_image_id ON findings (image_id);
CREATE INDEX ix_results_job_id ON results (job_id);
CREATE INDEX ix_results_series_instance_uid ON results (series_instance_uid);
CREATE INDEX ix_deliveries_job_id ON deliveries (job_id);
CREATE INDEX ix_deliveries_destination_status_due_at ON deliveries (destination, status, due_at);
CREATE INDEX ix_events_job_id ON events (job_id);
CREATE INDEX ix_events_subject_uid ON events (subject_uid);
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events only ever grows'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events only ever grows'); END;
CREATE INDEX ix_deliveries_destination_proof_proof_due_at ON deliveries (destination, proof, proof_due_at);
CREATE INDEX ix_commitment_items_delivery_id ON commitment_items (delivery_id);
CREATE INDEX ix_commitment_requests_status_due_at ON commitment_requests (status, due_at);
CREATE INDEX ix_images_path ON images (path);
CREATE INDEX ix_replaced_images_job_id ON replaced_images (job_id);
CREATE INDEX ix_replaced_images_path ON replaced_images (path);
CREATE VIEW exam_overview AS SELECT
            j.id, j.study_instance_uid, j.revision, j.status, j.created_at, j.last_image_at,
            CAST(strftime('%s', 'now') - strftime('%s', j.created_at) AS INTEGER) AS age_seconds,
            (SELECT count(*) FROM images i WHERE i.job_id = j.id) AS images,
            (SELECT count(*) FROM images i WHERE i.job_id = j.id AND i.state = 'received') AS images_waiting,
            (SELECT count(*) FROM images i WHERE i.job_id = j.id AND i.state = 'analyzed') AS images_analyzed,
            (SELECT count(*) FROM images i WHERE i.job_id = j.id AND i.state = 'set aside') AS images_set_aside,
            (SELECT count(*) FROM images i WHERE i.job_id = j.id AND i.state = 'failed') AS images_failed,
            (SELECT count(*) FROM findings f JOIN images i ON i.id = f.image_id
                WHERE i.job_id = j.id) AS findings,
            (SELECT count(*) FROM deliveries d WHERE d.job_id = j.id AND d.status = 'pending') AS deliveries_pending,
            (SELECT count(*) FROM deliveries d WHERE d.job_id = j.id AND d.status = 'failed') AS deliveries_failed,
            (SELECT count(*) FROM deliveries d WHERE d.job_id = j.id AND d.status = 'delivered' AND d.proof IN ('wanted', 'asked', 'refused'))
                AS proofs_pending,
            j.error_code, j.error_text,
            CASE
                WHEN j.status IN ('receiving', 'analyzed') AND j.lease_owner IS NOT NULL
                    THEN 'being worked on by ' || j.lease_owner || ', lease until '
                        || strftime('%Y-%m-%d %H:%M:%S UTC', j.lease_until)
                WHEN j.status IN ('receiving', 'analyzed') AND j.error_text IS NOT NULL
                    THEN 'another try at ' || strftime('%Y-%m-%d %H:%M:%S UTC', j.due_at) || ' after '
                        || j.error_code || ': ' || j.error_text
                WHEN j.status = 'receiving' AND (SELECT count(*) FROM images i WHERE i.job_id = j.id AND i.state = 'received') > 0
                    THEN 'a worker to analyze its images'
                WHEN j.status = 'receiving'
                    THEN 'further images until ' || strftime('%Y-%m-%d %H:%M:%S UTC', j.due_at)
                WHEN j.status = 'analyzed' THEN 'a worker to write its result objects'
                WHEN j.status = 'reported' THEN 'delivery to ' || (
                    SELECT group_concat(o.destination, ', ') FROM (
                        SELECT DISTINCT
                            d.destination || COALESCE(' (' || d.error_code || ')', '') AS destination
                        FROM deliveries d
                        WHERE d.job_id = j.id AND d.status = 'pending' ORDER BY 1
                    ) o)
                WHEN j.status = 'delivered' AND EXISTS (
                        SELECT 1 FROM deliveries d WHERE d.job_id = j.id AND d.status = 'delivered' AND d.proof IN ('wanted', 'asked', 'refused'))
                    THEN 'proof from ' || (
                    SELECT group_concat(o.destination, ', ') FROM (
                        SELECT DISTINCT d.destination AS destination FROM deliveries d
                        WHERE d.job_id = j.id AND d.status = 'delivered' AND d.proof IN ('wanted', 'asked', 'refused') ORDER BY 1
                    ) o)
                WHEN j.status = 'failed'
                    THEN 'a person: retry or cancel'
                        || COALESCE(' (' || j.error_code || ': ' || j.error_text || ')', '')
                WHEN j.status = 'purged' THEN 'nothing'
                ELSE 'the end of its retention time'
            END AS waits_for
        FROM jobs j;
CREATE INDEX ix_web_sessions_user_id ON web_sessions (user_id);
CREATE INDEX ix_web_sessions_began_at ON web_sessions (began_at);
CREATE INDEX ix_api_tokens_user_id ON api_tokens (user_id);
CREATE INDEX ix_sign_in_failures_name_sha256 ON sign_in_failures (name_sha256);
CREATE INDEX ix_sign_in_failures_address ON sign_in_failures (address);
CREATE INDEX ix_sign_in_failures_at ON sign_in_failures (at);
CREATE INDEX ix_jobs_created_at_id ON jobs (created_at, id);
CREATE INDEX ix_jobs_status_created_at_id ON jobs (status, created_at, id);
CREATE INDEX ix_jobs_calling_ae_status_created_at_id ON jobs (calling_ae, status, created_at, id);
CREATE INDEX ix_exam_identifiers_patient_id_exam_created_at_job_id ON exam_identifiers (patient_id, exam_created_at, job_id);
CREATE INDEX ix_exam_identifiers_accession_number_exam_created_at_job_id ON exam_identifiers (accession_number, exam_created_at, job_id);
CREATE INDEX ix_exam_identifiers_study_date_exam_created_at_job_id ON exam_identifiers (study_date, exam_created_at, job_id);
CREATE INDEX ix_jobs_delivered_at_image_count_last_image_at ON jobs (delivered_at, image_count, last_image_at);
CREATE INDEX ix_deliveries_destination_delivered_at ON deliveries (destination, delivered_at);
CREATE INDEX ix_jobs_lease_until ON jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX ix_images_model_received_at_job_id_top_score ON images (model, received_at, job_id, top_score);
CREATE UNIQUE INDEX uq_notices_open_key ON notices ("key") WHERE closed_at IS NULL;
CREATE INDEX ix_notice_messages_channel_status_due_at ON notice_messages (channel, status, due_at);
COMMIT;
