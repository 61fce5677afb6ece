namespace NodeAgent.Lab;

internal sealed record AwsCredentials(string AccessKeyId, string SecretAccessKey, string SessionToken);

/// <summary>moto_server, natively on loopback: EC2, S3, STS and the rest, with signatures and the actions of policies checked.</summary>
/// <remarks>Starts with the first call.</remarks>
internal sealed class Aws(string folder) : IAsyncDisposable
{
    /// <summary>Where guests find every service.</summary>
    public const string Url = "http://10.0.2.101";

    private readonly SemaphoreSlim turn = new(1);
    private readonly HashSet<string> roles = [];
    private HttpClient? client;
    private Child? moto;

    public int Port { get; } = ApiServer.FreePort();

    /// <summary>A role with this policy, assumed: what the metadata of an instance with that profile would hand out.</summary>
    public async Task<AwsCredentials> AssumeRoleAsync(string role, string policyJson)
    {
        await CreateRoleAsync(role, policyJson);
        return await AssumeAsync(role, "i-0a5d1a26e00000001");
    }

    /// <summary>A role with this policy, and an instance profile of its name. What is there keeps what it is, but for the policy.</summary>
    public Task CreateRoleAsync(string role, string policyJson) => AsAdministratorAsync(async () =>
    {
        if (!roles.Add(role))
        {
            return await QueryAsync("iam", "2010-05-08", "PutRolePolicy", ("RoleName", role), ("PolicyName", "only"), ("PolicyDocument", policyJson));
        }

        var trust = """{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}""";
        await QueryAsync("iam", "2010-05-08", "CreateRole", ("RoleName", role), ("AssumeRolePolicyDocument", trust));
        await QueryAsync("iam", "2010-05-08", "PutRolePolicy", ("RoleName", role), ("PolicyName", "only"), ("PolicyDocument", policyJson));
        await QueryAsync("iam", "2010-05-08", "CreateInstanceProfile", ("InstanceProfileName", role));
        return await QueryAsync("iam", "2010-05-08", "AddRoleToInstanceProfile", ("InstanceProfileName", role), ("RoleName", role));
    });

    /// <param name="session">EC2 calls it by the instance's ID.</param>
    public Task<AwsCredentials> AssumeAsync(string role, string session) => AsAdministratorAsync(async () =>
    {
        var answer = await QueryAsync(
            "sts", "2011-06-15", "AssumeRole", ("RoleArn", $"arn:aws:iam::123456789012:role/{role}"), ("RoleSessionName", session));
        return new AwsCredentials(Field(answer, "AccessKeyId"), Field(answer, "SecretAccessKey"), Field(answer, "SessionToken"));
    });

    /// <summary>The text of the first element of that name.</summary>
    public static string Field(string xml, string name) => xml.Split($"<{name}>", 2)[1].Split($"</{name}>", 2)[0];

    /// <summary>A call of a query service (EC2, IAM, STS, Auto Scaling) by one who may do everything. Returns the XML.</summary>
    public Task<string> CallAsync(string service, string version, string action, params (string Name, string Value)[] parameters) =>
        AsAdministratorAsync(() => QueryAsync(service, version, action, parameters));

    public Task CreateBucketAsync(string bucket) => AsAdministratorAsync(() => PutAsync(bucket, ""));

    public Task PutObjectAsync(string bucket, string key, string content) => AsAdministratorAsync(() => PutAsync($"{bucket}/{key}", content));

    public async ValueTask DisposeAsync()
    {
        client?.Dispose();
        turn.Dispose();
        if (moto is not null)
        {
            await moto.DisposeAsync();
        }
    }

    private async Task StartAsync()
    {
        Directory.CreateDirectory(folder);
        var root = await Caches.MotoAsync();
        moto = await Child.StartAsync(
            Path.Combine(folder, "moto.log"), "chroot", [root, "moto_server", "--host", "127.0.0.1", "--port", $"{Port}"], ("PYTHONDONTWRITEBYTECODE", "1"));
        client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{Port}"), Timeout = TimeSpan.FromSeconds(30) };
        for (var tries = 240; ; tries--)
        {
            try
            {
                (await client.PostAsync("/moto-api/reset", null)).EnsureSuccessStatusCode();
                return;
            }
            catch (HttpRequestException) when (tries > 0 && !moto.HasExited)
            {
                await Task.Delay(250);
            }
            catch (HttpRequestException e)
            {
                throw new LabException($"moto does not answer; see {folder}/moto.log", e);
            }
        }
    }

    // moto lets a number of calls through unsigned before it begins to check: the harness's own calls are among those.
    private async Task<T> AsAdministratorAsync<T>(Func<Task<T>> calls)
    {
        await turn.WaitAsync();
        try
        {
            if (client is null)
            {
                await StartAsync();
            }

            await CheckFromAsync(1000);
            var result = await calls();
            await CheckFromAsync(0);
            return result;
        }
        finally
        {
            turn.Release();
        }
    }

    private async Task CheckFromAsync(int calls) => (await client!.PostAsync("/moto-api/reset-auth", new StringContent($"{calls}"))).EnsureSuccessStatusCode();

    private async Task<bool> PutAsync(string path, string content)
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, "/" + path) { Content = new StringContent(content) };
        request.Headers.TryAddWithoutValidation(
            "Authorization", "AWS4-HMAC-SHA256 Credential=harness/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none");
        using var answer = await client!.SendAsync(request);
        return answer.IsSuccessStatusCode
            ? true
            : throw new LabException($"moto: PUT {path}: {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
    }

    private async Task<string> QueryAsync(string service, string version, string action, params (string Name, string Value)[] parameters)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/");
        // moto tells services apart by the scope of the signature; the signature itself is not checked in these calls.
        request.Headers.TryAddWithoutValidation(
            "Authorization", $"AWS4-HMAC-SHA256 Credential=harness/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=none");
        request.Content = new FormUrlEncodedContent(
            [new("Action", action), new("Version", version), .. parameters.Select(parameter => KeyValuePair.Create(parameter.Name, parameter.Value))]);
        using var answer = await client!.SendAsync(request);
        var text = await answer.Content.ReadAsStringAsync();
        return answer.IsSuccessStatusCode ? text : throw new LabException($"moto: {action}: {(int)answer.StatusCode} {text}");
    }
}
