"""What a user gives to `infer`: files, folders, lists, DICOM, zips; as cases with ids."""
