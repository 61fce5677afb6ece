using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace NodeAgent.Pki;

/// <summary>When a certificate is to be renewed.</summary>
internal static class Renewal
{
    /// <summary>At a third of life left, or up to a twelfth earlier, by node and file: nodes launched together do not all ask in the same minute.</summary>
    /// <param name="holder">Whose share of that twelfth it is.</param>
    public static DateTimeOffset Due(ParsedCertificate certificate, string holder)
    {
        var share = BinaryPrimitives.ReadUInt32BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(holder))) / (double)uint.MaxValue;
        return Latest(certificate) - (Life(certificate) * (share / 12));
    }

    /// <summary>Before this, no node renews it.</summary>
    public static DateTimeOffset Earliest(ParsedCertificate certificate) => Latest(certificate) - (Life(certificate) / 12);

    /// <summary>By this, every node should have renewed it.</summary>
    public static DateTimeOffset Latest(ParsedCertificate certificate) => certificate.NotAfter - (Life(certificate) / 3);

    private static TimeSpan Life(ParsedCertificate certificate) => certificate.NotAfter - certificate.NotBefore;
}
