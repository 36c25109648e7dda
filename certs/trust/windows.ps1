# Makes this Windows user trust https addresses that end in {{ZONE}}, and no others.
# {{SUBJECT}}
$ErrorActionPreference = 'Stop'

$pem = @'
{{ROOT_PEM}}
'@
$base64 = $pem -replace '-----(BEGIN|END) CERTIFICATE-----', '' -replace '\s', ''
$root = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new([Convert]::FromBase64String($base64))

$sha256 = [System.Security.Cryptography.SHA256]::Create()
$found = [BitConverter]::ToString($sha256.ComputeHash($root.RawData)).Replace('-', ':')
if ($found -ne '{{SHA256}}') {
    throw "This file was damaged or changed: the certificate in it has the fingerprint $found. Fetch it again."
}

$store = [System.Security.Cryptography.X509Certificates.X509Store]::new('Root', 'CurrentUser')
$store.Open('ReadWrite')
try { $store.Add($root) } finally { $store.Close() }
Write-Host 'Done. Restart the browser, then open https://gate.{{ZONE}}/'
