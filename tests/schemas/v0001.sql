BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
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
	transaction_uid TEXT, 
	CONSTRAINT pk_deliveries PRIMARY KEY (id), 
	CONSTRAINT fk_deliveries_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT fk_deliveries_result_id FOREIGN KEY(result_id) REFERENCES results (id), 
	CONSTRAINT uq_deliveries_result_id_destination UNIQUE (result_id, destination)
);
INSERT INTO "deliveries" VALUES(1,1,1,'A','delivered','2026-03-01 08:00:00.000000',NULL,NULL,1,1,'2026-03-01 08:00:00.000000',0,NULL,NULL,'2026-03-01 08:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(2,1,2,'A','delivered','2026-03-01 08:00:00.000000',NULL,NULL,1,1,'2026-03-01 08:00:00.000000',0,NULL,NULL,'2026-03-01 08:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(3,2,3,'A','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(4,2,3,'B','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(5,2,4,'A','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(6,2,4,'B','delivered','2026-03-01 10:00:00.000000',NULL,NULL,1,1,'2026-03-01 10:00:00.000000',0,NULL,NULL,'2026-03-01 10:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(7,3,5,'A','delivered','2026-03-01 11:00:00.000000',NULL,NULL,1,1,'2026-03-01 11:00:00.000000',0,NULL,NULL,'2026-03-01 11:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(8,3,6,'A','delivered','2026-03-01 11:00:00.000000',NULL,NULL,1,1,'2026-03-01 11:00:00.000000',0,NULL,NULL,'2026-03-01 11:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(9,4,7,'A','delivered','2026-03-01 11:00:00.000000',NULL,NULL,1,1,'2026-03-01 11:00:00.000000',0,NULL,NULL,'2026-03-01 11:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(10,4,8,'A','delivered','2026-03-01 11:00:00.000000',NULL,NULL,1,1,'2026-03-01 11:00:00.000000',0,NULL,NULL,'2026-03-01 11:00:00.000000',NULL);
INSERT INTO "deliveries" VALUES(11,5,9,'A','failed','2026-03-01 12:00:00.000000',NULL,NULL,1,1,'2026-03-01 12:00:00.000000',49152,'E602','the destination answered 0xC000',NULL,NULL);
INSERT INTO "deliveries" VALUES(12,5,10,'A','failed','2026-03-01 12:00:00.000000',NULL,NULL,1,1,'2026-03-01 12:00:00.000000',49152,'E602','the destination answered 0xC000',NULL,NULL);
INSERT INTO "deliveries" VALUES(13,6,11,'A','pending','2026-03-01 14:00:00.000000',NULL,NULL,1,1,'2026-03-01 13:00:00.000000',NULL,'E601','no connection',NULL,NULL);
INSERT INTO "deliveries" VALUES(14,6,12,'A','pending','2026-03-01 14:00:00.000000',NULL,NULL,1,1,'2026-03-01 13:00:00.000000',NULL,'E601','no connection',NULL,NULL);
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
INSERT INTO "events" VALUES(3,1,'1.1.9.1','2026-03-01 08:00:00.000000','image-analyzed',NULL,'Image 1.1.9.1 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(4,1,NULL,'2026-03-01 08:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(5,1,'2.25.118','2026-03-01 08:00:00.000000','result-written',NULL,'Result object 2.25.118 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(6,1,'2.25.110','2026-03-01 08:00:00.000000','result-written',NULL,'Result object 2.25.110 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(7,1,NULL,'2026-03-01 08:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(8,1,'2.25.118','2026-03-01 08:00:00.000000','delivery-done',NULL,'Result object 2.25.118 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(9,1,'2.25.110','2026-03-01 08:00:00.000000','delivery-done',NULL,'Result object 2.25.110 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(10,1,NULL,'2026-03-01 08:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to A, has ended.','w1');
INSERT INTO "events" VALUES(11,1,NULL,'2026-03-01 09:00:00.000000','purged',NULL,'The retention time is over: the files were deleted, the rows stay.','retention');
INSERT INTO "events" VALUES(12,2,NULL,'2026-03-01 10:00:00.000000','receiving',NULL,'A further image of the study came: revision 2 of the exam.','receiver');
INSERT INTO "events" VALUES(13,2,'1.1.9.2','2026-03-01 10:00:00.000000','image-received',NULL,'Image 1.1.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(14,2,'1.1.9.2','2026-03-01 10:00:00.000000','image-analyzed',NULL,'Image 1.1.9.2 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(15,2,NULL,'2026-03-01 10:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(16,2,'2.25.218','2026-03-01 10:00:00.000000','result-written',NULL,'Result object 2.25.218 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(17,2,'2.25.210','2026-03-01 10:00:00.000000','result-written',NULL,'Result object 2.25.210 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(18,2,NULL,'2026-03-01 10:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 4.','w1');
INSERT INTO "events" VALUES(19,2,'2.25.218','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.218 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(20,2,'2.25.210','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.210 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(21,2,'2.25.218','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.218 was stored at B: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(22,2,'2.25.210','2026-03-01 10:00:00.000000','delivery-done',NULL,'Result object 2.25.210 was stored at B: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(23,2,NULL,'2026-03-01 10:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to B, has ended.','w1');
INSERT INTO "events" VALUES(24,3,NULL,'2026-03-01 11:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(25,3,'1.2.9.1','2026-03-01 11:00:00.000000','image-received',NULL,'Image 1.2.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(26,3,'1.2.9.1','2026-03-01 11:00:00.000000','image-analyzed',NULL,'Image 1.2.9.1 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(27,3,NULL,'2026-03-01 11:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(28,3,'2.25.318','2026-03-01 11:00:00.000000','result-written',NULL,'Result object 2.25.318 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(29,3,'2.25.310','2026-03-01 11:00:00.000000','result-written',NULL,'Result object 2.25.310 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(30,3,NULL,'2026-03-01 11:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(31,3,'2.25.318','2026-03-01 11:00:00.000000','delivery-done',NULL,'Result object 2.25.318 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(32,3,'2.25.310','2026-03-01 11:00:00.000000','delivery-done',NULL,'Result object 2.25.310 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(33,3,NULL,'2026-03-01 11:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to A, has ended.','w1');
INSERT INTO "events" VALUES(34,4,NULL,'2026-03-01 11:00:00.000000','receiving',NULL,'A further image of the study came: revision 2 of the exam.','receiver');
INSERT INTO "events" VALUES(35,4,'1.2.9.2','2026-03-01 11:00:00.000000','image-received',NULL,'Image 1.2.9.2 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(36,4,'1.2.9.2','2026-03-01 11:00:00.000000','image-analyzed',NULL,'Image 1.2.9.2 was analyzed by calc-resnet50 1 with no findings.','w1');
INSERT INTO "events" VALUES(37,4,NULL,'2026-03-01 11:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(38,4,'2.25.418','2026-03-01 11:00:00.000000','result-written',NULL,'Result object 2.25.418 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(39,4,'2.25.410','2026-03-01 11:00:00.000000','result-written',NULL,'Result object 2.25.410 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(40,4,NULL,'2026-03-01 11:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(41,4,'2.25.418','2026-03-01 11:00:00.000000','delivery-done',NULL,'Result object 2.25.418 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(42,4,'2.25.410','2026-03-01 11:00:00.000000','delivery-done',NULL,'Result object 2.25.410 was stored at A: the destination answered 0x0000.','w1');
INSERT INTO "events" VALUES(43,4,NULL,'2026-03-01 11:00:00.000000','delivered',NULL,'The exam is delivered: the last delivery, to A, has ended.','w1');
INSERT INTO "events" VALUES(44,5,NULL,'2026-03-01 12:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(45,5,'1.3.9.1','2026-03-01 12:00:00.000000','image-received',NULL,'Image 1.3.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(46,5,'1.3.9.1','2026-03-01 12:00:00.000000','image-analyzed',NULL,'Image 1.3.9.1 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(47,5,NULL,'2026-03-01 12:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(48,5,'2.25.518','2026-03-01 12:00:00.000000','result-written',NULL,'Result object 2.25.518 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(49,5,'2.25.510','2026-03-01 12:00:00.000000','result-written',NULL,'Result object 2.25.510 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(50,5,NULL,'2026-03-01 12:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(51,5,'2.25.518','2026-03-01 12:00:00.000000','delivery-failed','E602','Result object 2.25.518 could not be sent to A: the destination answered 0xC000.','w1');
INSERT INTO "events" VALUES(52,5,'2.25.510','2026-03-01 12:00:00.000000','delivery-failed','E602','Result object 2.25.510 could not be sent to A: the destination answered 0xC000.','w1');
INSERT INTO "events" VALUES(53,5,NULL,'2026-03-01 12:00:00.000000','failed','E602','The exam is failed: the last delivery, to A, has ended.','w1');
INSERT INTO "events" VALUES(54,6,NULL,'2026-03-01 13:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(55,6,'1.4.9.1','2026-03-01 13:00:00.000000','image-received',NULL,'Image 1.4.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(56,6,'1.4.9.1','2026-03-01 13:00:00.000000','image-analyzed',NULL,'Image 1.4.9.1 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(57,6,NULL,'2026-03-01 13:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(58,6,'2.25.618','2026-03-01 13:00:00.000000','result-written',NULL,'Result object 2.25.618 (mammography-cad-sr) was written.','w1');
INSERT INTO "events" VALUES(59,6,'2.25.610','2026-03-01 13:00:00.000000','result-written',NULL,'Result object 2.25.610 (tid1500-sr) was written.','w1');
INSERT INTO "events" VALUES(60,6,NULL,'2026-03-01 13:00:00.000000','reported',NULL,'Result objects on disk: 2; deliveries due: 2.','w1');
INSERT INTO "events" VALUES(61,6,'2.25.618','2026-03-01 13:00:00.000000','delivery-retry','E601','Result object 2.25.618 will be sent to A again: no connection.','w1');
INSERT INTO "events" VALUES(62,6,'2.25.610','2026-03-01 13:00:00.000000','delivery-retry','E601','Result object 2.25.610 will be sent to A again: no connection.','w1');
INSERT INTO "events" VALUES(63,7,NULL,'2026-03-01 14:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(64,7,'1.5.9.1','2026-03-01 14:00:00.000000','image-received',NULL,'Image 1.5.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(65,7,'1.5.9.1','2026-03-01 14:00:00.000000','image-set-aside','N102','Image 1.5.9.1 was set aside: breast tomosynthesis is not analyzed.','w1');
INSERT INTO "events" VALUES(66,7,NULL,'2026-03-01 14:00:00.000000','skipped',NULL,'nothing','w1');
INSERT INTO "events" VALUES(67,8,NULL,'2026-03-01 15:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(68,8,'1.6.9.1','2026-03-01 15:00:00.000000','image-received',NULL,'Image 1.6.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(69,8,NULL,'2026-03-01 15:00:00.000000','cancelled',NULL,'The exam was given up: a test object.','administrator');
INSERT INTO "events" VALUES(70,9,NULL,'2026-03-01 16:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(71,9,'1.7.9.1','2026-03-01 16:00:00.000000','image-received',NULL,'Image 1.7.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(72,9,'1.7.9.1','2026-03-01 16:00:00.000000','image-analyzed',NULL,'Image 1.7.9.1 was analyzed by calc-resnet50 1 with 1 finding.','w1');
INSERT INTO "events" VALUES(73,9,NULL,'2026-03-01 16:00:00.000000','analyzed',NULL,'closed','w1');
INSERT INTO "events" VALUES(74,10,NULL,'2026-03-01 17:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(75,10,'1.8.9.1','2026-03-01 17:00:00.000000','image-received',NULL,'Image 1.8.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(76,10,NULL,'2026-03-01 17:00:00.000000','failed','E801','given up','w1');
INSERT INTO "events" VALUES(77,11,NULL,'2026-03-01 18:00:00.000000','receiving',NULL,'The first image of the study came: a new exam.','receiver');
INSERT INTO "events" VALUES(78,11,'1.9.9.1','2026-03-01 18:00:00.000000','image-received',NULL,'Image 1.9.9.1 was received from MODALITY and kept.','receiver');
INSERT INTO "events" VALUES(79,11,'1.9.9.1','2026-03-01 18:00:00.000000','image-received-again',NULL,'Image 1.9.9.1 came again from MODALITY with the same bytes; nothing changed.','receiver');
INSERT INTO "events" VALUES(80,11,'1.9.9.1','2026-03-01 18:00:00.000000','image-conflict','E202','Image 1.9.9.1 came again from MODALITY with other bytes; refused.','receiver');
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
INSERT INTO "findings" VALUES(4,5,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(5,6,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
INSERT INTO "findings" VALUES(6,9,0.75,100.5,200.25,'[[90.0, 190.0], [110.0, 190.0], [110.0, 210.0], [90.0, 190.0]]',3.5,1,'[{"center": [101.0, 201.0], "diameter_mm": 0.3, "contrast": 5.5}]');
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
	analyzed_at DATETIME, 
	CONSTRAINT pk_images PRIMARY KEY (id), 
	CONSTRAINT fk_images_job_id FOREIGN KEY(job_id) REFERENCES jobs (id), 
	CONSTRAINT uq_images_sop_instance_uid UNIQUE (sop_instance_uid)
);
INSERT INTO "images" VALUES(1,1,'1.1.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.1.8','1.2.840.10008.1.2.1','images/1.1-1',1001,'a','MODALITY','2026-03-01 08:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 08:00:00.000000');
INSERT INTO "images" VALUES(2,2,'1.1.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.1.8','1.2.840.10008.1.2.1','images/1.1-2',1002,'a','MODALITY','2026-03-01 10:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 10:00:00.000000');
INSERT INTO "images" VALUES(3,3,'1.2.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.2.8','1.2.840.10008.1.2.1','images/1.2-1',1001,'a','MODALITY','2026-03-01 11:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 11:00:00.000000');
INSERT INTO "images" VALUES(4,4,'1.2.9.2','1.2.840.10008.5.1.4.1.1.1.2','1.2.8','1.2.840.10008.1.2.1','images/1.2-2',1002,'a','MODALITY','2026-03-01 11:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 11:00:00.000000');
INSERT INTO "images" VALUES(5,5,'1.3.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.3.8','1.2.840.10008.1.2.1','images/1.3-1',1001,'a','MODALITY','2026-03-01 12:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 12:00:00.000000');
INSERT INTO "images" VALUES(6,6,'1.4.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.4.8','1.2.840.10008.1.2.1','images/1.4-1',1001,'a','MODALITY','2026-03-01 13:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 13:00:00.000000');
INSERT INTO "images" VALUES(7,7,'1.5.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.5.8','1.2.840.10008.1.2.1','images/1.5-1',1001,'a','MODALITY','2026-03-01 14:00:00.000000','set aside',0,'N102','',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL);
INSERT INTO "images" VALUES(8,8,'1.6.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.6.8','1.2.840.10008.1.2.1','images/1.6-1',1001,'a','MODALITY','2026-03-01 15:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL);
INSERT INTO "images" VALUES(9,9,'1.7.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.7.8','1.2.840.10008.1.2.1','images/1.7-1',1001,'a','MODALITY','2026-03-01 16:00:00.000000','analyzed',1,NULL,'','R','MLO','FOR PRESENTATION','["1.2.3.7"]',4000,3000,'calc-resnet50 1','2026-03-01 16:00:00.000000');
INSERT INTO "images" VALUES(10,10,'1.8.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.8.8','1.2.840.10008.1.2.1','images/1.8-1',1001,'a','MODALITY','2026-03-01 17:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL);
INSERT INTO "images" VALUES(11,11,'1.9.9.1','1.2.840.10008.5.1.4.1.1.1.2','1.9.8','1.2.840.10008.1.2.1','images/1.9-1',1001,'a','MODALITY','2026-03-01 18:00:00.000000','received',0,NULL,'',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL);
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
	superseded_by INTEGER, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_superseded_by FOREIGN KEY(superseded_by) REFERENCES jobs (id), 
	CONSTRAINT uq_jobs_study_instance_uid_revision UNIQUE (study_instance_uid, revision)
);
INSERT INTO "jobs" VALUES(1,'1.1',1,'purged','MODALITY',1,'2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000','2026-03-01 08:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,2);
INSERT INTO "jobs" VALUES(2,'1.1',2,'delivered','MODALITY',1,'2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000','2026-03-01 10:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(3,'1.2',1,'delivered','MODALITY',1,'2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,4);
INSERT INTO "jobs" VALUES(4,'1.2',2,'delivered','MODALITY',1,'2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000','2026-03-01 11:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(5,'1.3',1,'failed','MODALITY',1,'2026-03-01 12:00:00.000000','2026-03-01 12:00:00.000000','2026-03-01 12:00:00.000000',NULL,'2026-03-01 12:00:00.000000',NULL,NULL,0,'reported','E602','delivery to A: the destination answered 0xC000',NULL);
INSERT INTO "jobs" VALUES(6,'1.4',1,'reported','MODALITY',1,'2026-03-01 13:00:00.000000','2026-03-01 13:00:00.000000','2026-03-01 13:00:00.000000',NULL,'2026-03-01 13:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(7,'1.5',1,'skipped','MODALITY',1,'2026-03-01 14:00:00.000000','2026-03-01 14:00:00.000000',NULL,'2026-03-01 14:00:00.000000','2026-03-01 14:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(8,'1.6',1,'cancelled','MODALITY',1,'2026-03-01 15:00:00.000000','2026-03-01 15:00:00.000000',NULL,'2026-03-01 15:00:00.000000','2026-03-01 15:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(9,'1.7',1,'analyzed','MODALITY',1,'2026-03-01 16:00:00.000000','2026-03-01 16:00:00.000000','2026-03-01 16:00:00.000000',NULL,'2026-03-01 16:00:00.000000','w1','2026-03-02 17:00:00.000000',2,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES(10,'1.8',1,'failed','MODALITY',1,'2026-03-01 17:00:00.000000','2026-03-01 17:00:00.000000',NULL,NULL,'2026-03-01 17:00:00.000000',NULL,NULL,0,'receiving','E801','tries',NULL);
INSERT INTO "jobs" VALUES(11,'1.9',1,'receiving','MODALITY',1,'2026-03-01 18:00:00.000000','2026-03-01 18:00:00.000000',NULL,NULL,'2026-03-01 18:00:00.000000',NULL,NULL,0,NULL,NULL,NULL,NULL);
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
INSERT INTO "results" VALUES(2,1,'tid1500-sr','1.2.840.1','2.25.110','2.25.110.1','results/2.25.110','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 08:00:00.000000');
INSERT INTO "results" VALUES(3,2,'mammography-cad-sr','1.2.840.1','2.25.218','2.25.218.1','results/2.25.218','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 10:00:00.000000');
INSERT INTO "results" VALUES(4,2,'tid1500-sr','1.2.840.1','2.25.210','2.25.210.1','results/2.25.210','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 10:00:00.000000');
INSERT INTO "results" VALUES(5,3,'mammography-cad-sr','1.2.840.1','2.25.318','2.25.318.1','results/2.25.318','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 11:00:00.000000');
INSERT INTO "results" VALUES(6,3,'tid1500-sr','1.2.840.1','2.25.310','2.25.310.1','results/2.25.310','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 11:00:00.000000');
INSERT INTO "results" VALUES(7,4,'mammography-cad-sr','1.2.840.1','2.25.418','2.25.418.1','results/2.25.418','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 11:00:00.000000');
INSERT INTO "results" VALUES(8,4,'tid1500-sr','1.2.840.1','2.25.410','2.25.410.1','results/2.25.410','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 11:00:00.000000');
INSERT INTO "results" VALUES(9,5,'mammography-cad-sr','1.2.840.1','2.25.518','2.25.518.1','results/2.25.518','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 12:00:00.000000');
INSERT INTO "results" VALUES(10,5,'tid1500-sr','1.2.840.1','2.25.510','2.25.510.1','results/2.25.510','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 12:00:00.000000');
INSERT INTO "results" VALUES(11,6,'mammography-cad-sr','1.2.840.1','2.25.618','2.25.618.1','results/2.25.618','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 13:00:00.000000');
INSERT INTO "results" VALUES(12,6,'tid1500-sr','1.2.840.1','2.25.610','2.25.610.1','results/2.25.610','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',77,'2026-03-01 13:00:00.000000');
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
                WHEN j.status = 'failed'
                    THEN 'a person: retry or cancel'
                        || COALESCE(' (' || j.error_code || ': ' || j.error_text || ')', '')
                WHEN j.status = 'purged' THEN 'nothing'
                ELSE 'the end of its retention time'
            END AS waits_for
        FROM jobs j;
COMMIT;
